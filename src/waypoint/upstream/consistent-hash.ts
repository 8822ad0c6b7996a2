/**
 * Consistent hashing: the same hash finds the same endpoint, and when endpoints come or go only the share that is theirs
 * moves. Tables are built once for each set of endpoints.
 * Source: Karger et al. (ring), Eisenbud et al., "Maglev" section 3.4.
 */
import { createHash } from 'node:crypto';

export interface HashedEndpoint {
  /** What stands for it in the table: the same for as long as it is the same endpoint. */
  readonly key: string;
  readonly weight: number;
}

/** Finds an endpoint's index by a hash; `accepts` may pass over endpoints, then the next in the table is asked. */
export type HashTable = (hash: number, accepts: (index: number) => boolean) => number | undefined;

export const DEFAULT_RING_SIZE = 1_024;
export const DEFAULT_MAGLEV_SIZE = 65_537;
const RING_SIZE_MAX = 8 * 1_024 * 1_024;

/** 32 bits of a text. */
export function hash32(text: string): number {
  return createHash('sha1').update(text).digest().readUInt32BE(0);
}

/** At least `minimum` points, shared by weight. */
export function ringTable(endpoints: readonly HashedEndpoint[], minimum: number): HashTable {
  const total = endpoints.reduce((sum, { weight }) => sum + weight, 0);
  const size = Math.min(RING_SIZE_MAX, Math.max(minimum || DEFAULT_RING_SIZE, endpoints.length));
  // A power of two: it stays as it is when an endpoint comes or goes, and so do the points of the others.
  const perWeight = 2 ** Math.ceil(Math.log2(Math.max(1, size / Math.max(1, total))));
  const points = endpoints.flatMap(({ key, weight }, index) => {
    const count = Math.min(RING_SIZE_MAX, Math.max(1, weight * perWeight));
    return Array.from({ length: count }, (_, i) => ({ at: hash32(`${key}_${i}`), index }));
  });
  points.sort((a, b) => a.at - b.at || a.index - b.index);
  return (hash, accepts) => {
    let low = 0;
    let high = points.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((points[middle]?.at ?? 0) < hash) low = middle + 1;
      else high = middle;
    }
    for (let i = 0; i < points.length; i++) {
      const index = points[(low + i) % points.length]?.index;
      if (index !== undefined && accepts(index)) return index;
    }
    return undefined;
  };
}

/** @param size a prime; 0: the default */
export function maglevTable(endpoints: readonly HashedEndpoint[], size: number): HashTable {
  const length = size || DEFAULT_MAGLEV_SIZE;
  const table = new Int32Array(length).fill(-1);
  const heaviest = Math.max(1, ...endpoints.map(({ weight }) => weight));
  const turns = endpoints.map(({ key, weight }) => ({
    offset: hash32(key) % length,
    skip: (hash32(`${key} skip`) % (length - 1)) + 1,
    next: 0,
    share: weight / heaviest,
    credit: 0,
  }));
  for (let filled = 0; filled < length && turns.length > 0; ) {
    for (const [index, turn] of turns.entries()) {
      turn.credit += turn.share;
      if (turn.credit < 1) continue;
      turn.credit -= 1;
      let at = (turn.offset + turn.next * turn.skip) % length;
      while (table[at] !== -1) {
        turn.next += 1;
        at = (turn.offset + turn.next * turn.skip) % length;
      }
      table[at] = index;
      turn.next += 1;
      filled += 1;
      if (filled === length) break;
    }
  }
  return (hash, accepts) => {
    if (turns.length === 0) return undefined;
    for (let i = 0; i < length; i++) {
      const index = table[(hash + i) % length];
      if (index !== undefined && index >= 0 && accepts(index)) return index;
    }
    return undefined;
  };
}

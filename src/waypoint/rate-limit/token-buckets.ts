/**
 * Token buckets by key, filled by time. Bounded: the key that was unused for longest is forgotten first, and starts full
 * when it comes again.
 */
import { LRUCache } from 'lru-cache';
import type { TokenBucket } from '../../model/l7/index.ts';

const BUCKETS_MAX = 100_000;

export interface Taken {
  readonly allowed: boolean;
  /** Whole tokens that are left. */
  readonly remaining: number;
  /** Until the next token is there; 0 when one is. */
  readonly resetMs: number;
}

/** Where tokens are taken: here, or in the process that all workers of a pod share. */
export interface TokenTaker {
  take(key: string, bucket: TokenBucket): Taken | Promise<Taken>;
}

interface Level {
  tokens: number;
  atMs: number;
}

export class TokenBuckets implements TokenTaker {
  readonly #levels = new LRUCache<string, Level>({ max: BUCKETS_MAX });
  readonly #nowMs: () => number;

  /** @param nowMs monotonic */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  take(key: string, { requests, intervalMs, burst }: TokenBucket): Taken {
    const nowMs = this.#nowMs();
    const size = Math.max(burst, 1);
    const perMs = requests / intervalMs;
    const level = this.#levels.get(key) ?? { tokens: size, atMs: nowMs };
    level.tokens = Math.min(size, level.tokens + (nowMs - level.atMs) * perMs);
    level.atMs = nowMs;
    // What many small fillings add up to may be a hair less than a whole token.
    const allowed = level.tokens >= 1 - 1e-9;
    if (allowed) level.tokens = Math.max(0, level.tokens - 1);
    this.#levels.set(key, level);
    const missing = level.tokens >= 1 ? 0 : 1 - level.tokens;
    const resetMs = missing === 0 ? 0 : perMs > 0 ? Math.ceil(missing / perMs) : intervalMs;
    return { allowed, remaining: Math.floor(level.tokens), resetMs };
  }
}

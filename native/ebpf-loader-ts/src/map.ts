/**
 * eBPF maps as seen from user space. Keys and values are bytes in the layout of the C structs; sizes are checked here,
 * so that the kernel never reads past a buffer.
 */
import { unlinkSync } from 'node:fs';
import { BpfError, checked, checkedValue, toBpfError } from './errors.ts';
import { MAP_TYPES } from './kernel-names.ts';
import { type FdHandle, type MapDescription, native } from './native.ts';

const ENOENT = -2;
const PER_CPU: ReadonlySet<number> = new Set([
  MAP_TYPES.percpu_array,
  MAP_TYPES.percpu_hash,
  MAP_TYPES.lru_percpu_hash,
]);
/** BPF_ANY, BPF_NOEXIST, BPF_EXIST. */
export const UPDATE_FLAGS = { any: 0, create: 1, replace: 2 } as const;

/** Owns one descriptor of a map. The map lives on while programs, pins or other descriptors hold it. */
export class BpfMap implements Disposable {
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  /** Bytes of one value; a per-CPU map holds one such value for each possible CPU. */
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  /** Kernel-wide number of the map. */
  readonly id: number;
  readonly #handle: FdHandle;
  readonly #bufferSize: number;

  private constructor(handle: FdHandle) {
    const info = checkedValue(native.mapInfo(handle), 'inspect a map');
    this.#handle = handle;
    this.name = info.name;
    this.type = info.type;
    this.keySize = info.keySize;
    this.valueSize = info.valueSize;
    this.maxEntries = info.maxEntries;
    this.flags = info.flags;
    this.id = info.id;
    this.#bufferSize = PER_CPU.has(info.type) ? align8(info.valueSize) * native.possibleCpus() : info.valueSize;
  }

  /** Takes the handle over. */
  static fromHandle(handle: FdHandle): BpfMap {
    return new BpfMap(handle);
  }

  /** Opens a pinned map. Throws ENOENT when there is no such pin. */
  static openPinned(path: string): BpfMap {
    return new BpfMap(checkedValue(native.openPinned(path), `open the pinned map ${path}`));
  }

  get handle(): FdHandle {
    return this.#handle;
  }

  /** The value, undefined when there is no such key. For a per-CPU map the values of all CPUs, each 8-byte aligned. */
  get(key: Uint8Array): Buffer | undefined {
    this.#checkSize('key', key, this.keySize);
    const value = Buffer.alloc(this.#bufferSize);
    const result = native.mapLookup(this.#handle, key, value);
    if (result === ENOENT) return undefined;
    checked(result, `read map ${this.name}`);
    return value;
  }

  /** The values of one key of a per-CPU map, one for each possible CPU. */
  getPerCpu(key: Uint8Array): Buffer[] | undefined {
    const all = this.get(key);
    if (all === undefined) return undefined;
    const stride = align8(this.valueSize);
    return Array.from({ length: all.length / stride }, (_, cpu) =>
      all.subarray(cpu * stride, cpu * stride + this.valueSize),
    );
  }

  /** Writes one entry. Throws E2BIG or ENOSPC when the map is full, EEXIST and ENOENT by `flags`. */
  set(key: Uint8Array, value: Uint8Array, flags: keyof typeof UPDATE_FLAGS = 'any'): void {
    this.#checkSize('key', key, this.keySize);
    this.#checkSize('value', value, this.#bufferSize);
    checked(native.mapUpdate(this.#handle, key, value, UPDATE_FLAGS[flags]), `write map ${this.name}`);
  }

  /** Whether there was such a key. */
  delete(key: Uint8Array): boolean {
    this.#checkSize('key', key, this.keySize);
    const result = native.mapDelete(this.#handle, key);
    if (result === ENOENT) return false;
    checked(result, `delete from map ${this.name}`);
    return true;
  }

  /**
   * All keys at some moment. Entries that come and go meanwhile may be missed or seen; the walk ends after `maxEntries`
   * keys even when the kernel starts over because the last key was deleted.
   */
  *keys(): Generator<Buffer> {
    let previous: Buffer | null = null;
    for (let count = 0; count < this.maxEntries; count++) {
      const next: Buffer = Buffer.alloc(this.keySize);
      const result = native.mapNextKey(this.#handle, previous, next);
      if (result === ENOENT) return;
      checked(result, `walk map ${this.name}`);
      yield next;
      previous = next;
    }
  }

  /** Keys with values, by the rules of `keys`. */
  *entries(): Generator<[key: Buffer, value: Buffer]> {
    for (const key of this.keys()) {
      const value = this.get(key);
      if (value !== undefined) yield [key, value];
    }
  }

  /** Pins the map in bpffs; throws EEXIST when the path is taken. */
  pin(path: string): void {
    checked(native.pinHandle(this.#handle, path), `pin map ${this.name} at ${path}`);
  }

  /** Whether programs built for `wanted` can use this map. */
  fits(wanted: MapDescription): boolean {
    return (
      this.type === wanted.type &&
      this.keySize === wanted.keySize &&
      this.valueSize === wanted.valueSize &&
      this.maxEntries === wanted.maxEntries &&
      this.flags === wanted.flags
    );
  }

  [Symbol.dispose](): void {
    native.close(this.#handle);
  }

  #checkSize(what: string, bytes: Uint8Array, size: number): void {
    if (bytes.length !== size) {
      throw new BpfError('EINVAL', `map ${this.name}: a ${what} has ${size} bytes, not ${bytes.length}`);
    }
  }
}

/** Removes a pin; false when there was none. */
export function unpin(path: string): boolean {
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}

/** Number of CPUs that a per-CPU map has room for. */
export function possibleCpus(): number {
  const count = native.possibleCpus();
  if (count < 0) throw toBpfError(count, 'count the CPUs');
  return count;
}

function align8(size: number): number {
  return (size + 7) & ~7;
}

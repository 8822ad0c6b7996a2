/**
 * Remembers derived values between passes, so that a pass costs what changed.
 *
 * A value is computed again only when one of its dependencies is another one than before (arrays: another element);
 * and when the new value says the same as the old, the old one stays, so that whatever depends on it stays as well.
 */
import { isDeepStrictEqual } from 'node:util';

interface Entry {
  readonly dependencies: readonly unknown[];
  readonly value: unknown;
  /** Of a section: what it is made of. */
  readonly memo?: Memo;
}

export class Memo {
  #previous = new Map<string, Entry>();
  #current = new Map<string, Entry>();

  /** The value of `key`. The same key always has the same type of value. */
  get<T>(key: string, dependencies: readonly unknown[], compute: () => T): T {
    const before = this.#kept(key, dependencies);
    if (before) return before.value as T; // stored under this key by this call
    const old = this.#previous.get(key);
    const fresh = compute();
    const value = old && isDeepStrictEqual(old.value, fresh) ? (old.value as T) : fresh;
    this.#current.set(key, { dependencies, value });
    return value;
  }

  /**
   * As `get`, for a value made of many: `compute` gets a memo of its own, of which nothing is asked or forgotten while
   * the section stays. Values are compared by their elements only; elements are kept by that memo.
   */
  section<T>(key: string, dependencies: readonly unknown[], compute: (memo: Memo) => T): T {
    const before = this.#kept(key, dependencies);
    if (before) return before.value as T; // stored under this key by this call
    const old = this.#previous.get(key);
    const memo = old?.memo ?? new Memo();
    const fresh = compute(memo);
    memo.sweep();
    const value = old && same(old.value, fresh) ? (old.value as T) : fresh;
    this.#current.set(key, { dependencies, value, memo });
    return value;
  }

  /** Ends a pass: forgets what was not asked for in it. */
  sweep(): void {
    this.#previous = this.#current;
    this.#current = new Map();
  }

  #kept(key: string, dependencies: readonly unknown[]): Entry | undefined {
    const before = this.#previous.get(key);
    if (!before || !sameDependencies(before.dependencies, dependencies)) return undefined;
    this.#current.set(key, before);
    return before;
  }
}

function sameDependencies(before: readonly unknown[], now: readonly unknown[]): boolean {
  return before.length === now.length && before.every((one, index) => same(one, now[index]));
}

function same(before: unknown, now: unknown): boolean {
  if (Object.is(before, now)) return true;
  if (!Array.isArray(before) || !Array.isArray(now) || before.length !== now.length) return false;
  return before.every((one, index) => Object.is(one, now[index]));
}

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
}

export class Memo {
  #previous = new Map<string, Entry>();
  #current = new Map<string, Entry>();

  /** The value of `key`. The same key always has the same type of value. */
  get<T>(key: string, dependencies: readonly unknown[], compute: () => T): T {
    const before = this.#previous.get(key);
    if (before && sameDependencies(before.dependencies, dependencies)) {
      this.#current.set(key, before);
      return before.value as T; // stored under this key by this call
    }
    const fresh = compute();
    const value = before && isDeepStrictEqual(before.value, fresh) ? (before.value as T) : fresh;
    this.#current.set(key, { dependencies, value });
    return value;
  }

  /** Ends a pass: forgets what was not asked for in it. */
  sweep(): void {
    this.#previous = this.#current;
    this.#current = new Map();
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

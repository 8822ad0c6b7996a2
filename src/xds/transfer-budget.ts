/**
 * Bounds what large responses under way may hold in memory together, so that a fleet that comes at once costs time and
 * not memory.
 *
 * Invariants
 *  - Small responses never wait: an update is not held up by somebody's snapshot.
 *  - Who waited first goes first, and one response always may go, however large.
 *  - A subscriber that takes nothing for `STUCK_MS` no longer holds up others.
 */
import type { Clock } from '../core/clock.ts';

const SMALL_BYTES = 256 * 1024;
const MAX_BYTES = 32 * 1024 * 1024;
const STUCK_MS = 5_000;

interface Waiting {
  readonly bytes: number;
  readonly go: (permit: Disposable) => void;
}

export class TransferBudget {
  readonly #clock: Clock;
  readonly #waiting = new Set<Waiting>();
  #used = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether a response of that size may go unasked. */
  static isSmall(bytes: number): boolean {
    return bytes <= SMALL_BYTES;
  }

  /** Calls `go` with a permit, now or when there is room; disposing the answer gives up waiting. */
  ask(bytes: number, go: (permit: Disposable) => void): Disposable {
    const waiting = { bytes, go };
    this.#waiting.add(waiting);
    this.#serve();
    return { [Symbol.dispose]: () => void this.#waiting.delete(waiting) };
  }

  #serve(): void {
    for (const waiting of this.#waiting) {
      if (this.#used > 0 && this.#used + waiting.bytes > MAX_BYTES) return;
      this.#waiting.delete(waiting);
      waiting.go(this.#permit(waiting.bytes));
    }
  }

  #permit(bytes: number): Disposable {
    const held = new AbortController();
    this.#used += bytes;
    const release = () => {
      if (held.signal.aborted) return;
      held.abort();
      this.#used -= bytes;
      this.#serve();
    };
    this.#clock.sleep(STUCK_MS, held.signal).then(release, () => undefined); // rejects when given back
    return { [Symbol.dispose]: release };
  }
}

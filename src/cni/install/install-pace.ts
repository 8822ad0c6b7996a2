/** Keeps the installer from fighting: one pass in five seconds is nominal, a faster one waits up to a second. */
import type { Clock } from '../../core/clock.ts';

const NOMINAL_MS = 5_000;
const WAIT_MAX_MS = 1_000;
/** More waits in a row than this mean that something else undoes the work. */
const WAITS_IN_A_ROW_MAX = 5;

export class InstallPace {
  readonly #clock: Clock;
  #lastMs: number | undefined;
  #waits = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Call before a pass: how long to wait first, and whether the passes follow too fast for too long. */
  next(): { readonly waitMs: number; readonly isContended: boolean } {
    const nowMs = this.#clock.monotonicMs();
    const remainingMs = this.#lastMs === undefined ? 0 : Math.max(0, this.#lastMs + NOMINAL_MS - nowMs);
    const waitMs = Math.min(remainingMs, WAIT_MAX_MS);
    this.#lastMs = nowMs + waitMs;
    this.#waits = waitMs > 0 ? this.#waits + 1 : 0;
    return { waitMs, isContended: this.#waits > WAITS_IN_A_ROW_MAX };
  }
}

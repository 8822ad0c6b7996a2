/** How long to wait before something that ended is started again. */

/** A first restart is quick, so that one crash is hardly noticed. */
const FIRST_MS = 100;
const LAST_MS = 10_000;
/** A run of this length counts as a good one. */
const GOOD_RUN_MS = 10_000;

/** Doubles from 100 ms to 10 s while runs stay short; starts over after one of 10 s. */
export class RestartDelay {
  #nextMs = FIRST_MS;

  /** The wait after a run of `ranMs`. */
  afterRun(ranMs: number): number {
    if (ranMs >= GOOD_RUN_MS) this.#nextMs = FIRST_MS;
    const delayMs = this.#nextMs;
    this.#nextMs = Math.min(LAST_MS, this.#nextMs * 2);
    return delayMs;
  }
}

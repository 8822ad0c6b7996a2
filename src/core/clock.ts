/** Time as a parameter: production passes `systemClock`, tests pass a clock they move by hand. */
export interface Clock {
  /** Milliseconds since the epoch. */
  nowMs(): number;
  /** Milliseconds of a clock that never goes back; only differences mean anything. */
  monotonicMs(): number;
  /** Resolves after `delayMs`; rejects with ERR_ABORTED when `signal` aborts first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

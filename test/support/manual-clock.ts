import type { Clock } from '../../src/core/clock.ts';
import { MeshError } from '../../src/core/errors.ts';

/** A clock that a test moves by hand. Sleepers wake in order of their time. */
export class ManualClock implements Clock {
  #nowMs = Date.UTC(2026, 0, 1);
  readonly #sleepers = new Set<{ readonly atMs: number; readonly wake: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  /** How many wait. */
  get sleepers(): number {
    return this.#sleepers.size;
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const sleeper = { atMs: this.#nowMs + delayMs, wake: resolve };
      const abort = (): void => {
        this.#sleepers.delete(sleeper);
        reject(new MeshError('ERR_ABORTED', 'the wait was given up'));
      };
      if (signal?.aborted) return abort();
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  /** Moves on and lets everything that follows from it run. */
  async advance(byMs: number): Promise<void> {
    this.#nowMs += byMs;
    const due = [...this.#sleepers].filter(({ atMs }) => atMs <= this.#nowMs).sort((a, b) => a.atMs - b.atMs);
    for (const sleeper of due) {
      this.#sleepers.delete(sleeper);
      sleeper.wake();
    }
    await settled();
  }
}

/** Resolves after every promise reaction that is ready has run. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
}

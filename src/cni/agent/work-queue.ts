/**
 * Names to reconcile. A name is worked on by one worker at a time and waits once, however often it is added.
 *
 * Invariants
 *  - A failed name comes back after 5 ms, doubling to 5 s; success resets that.
 *  - Retries are also held to ten a second with bursts of 100, so that a broken node does not spin.
 *  - The queue cannot outgrow the set of names.
 */
import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';

/** Undefined: done. Otherwise the name comes again after so many milliseconds. */
export type Work = (name: string) => Promise<number | undefined>;

export interface WorkQueueOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly workers: number;
}

const BACKOFF_FIRST_MS = 5;
const BACKOFF_MAX_MS = 5_000;
const RETRIES_PER_SECOND = 10;
const RETRIES_BURST = 100;

/** How long a name waits after its n-th failure in a row, from 1. */
export function backoffMs(failures: number): number {
  return Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(failures - 1, 20));
}

export class WorkQueue implements AsyncDisposable {
  readonly #options: WorkQueueOptions;
  readonly #work: Work;
  readonly #ready = new Set<string>();
  readonly #active = new Map<string, Promise<void>>();
  readonly #delayed = new Map<string, AbortController>();
  readonly #failures = new Map<string, number>();
  readonly #stop = new AbortController();
  #tokens = RETRIES_BURST;
  #tokensAtMs: number;

  constructor(options: WorkQueueOptions, work: Work) {
    this.#options = options;
    this.#work = work;
    this.#tokensAtMs = options.clock.monotonicMs();
  }

  /** Names that wait or are worked on. */
  get size(): number {
    return this.#ready.size + this.#active.size + this.#delayed.size;
  }

  /** Asks for a run now; one that is under way is followed by another. */
  add(name: string): void {
    if (this.#stop.signal.aborted) return;
    this.#delayed.get(name)?.abort();
    this.#ready.add(name);
    this.#start();
  }

  /** Runs `action` when the name is not worked on, and keeps the name from being worked on meanwhile. */
  async exclusively<T>(name: string, action: () => Promise<T>): Promise<T> {
    for (let running = this.#active.get(name); running; running = this.#active.get(name)) await running;
    const done = action();
    const settled = done.then(
      () => {},
      () => {},
    );
    this.#active.set(name, settled);
    void settled.then(() => this.#ended(name));
    return done;
  }

  /** Lets what is under way end; nothing else begins. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#ready.clear();
    for (const timer of this.#delayed.values()) timer.abort();
    await Promise.all(this.#active.values());
  }

  #start(): void {
    for (const name of this.#ready) {
      if (this.#active.size >= this.#options.workers) return;
      if (this.#active.has(name)) continue;
      this.#ready.delete(name);
      const run = this.#run(name);
      this.#active.set(name, run);
      void run.then(() => this.#ended(name));
    }
  }

  #ended(name: string): void {
    this.#active.delete(name);
    if (!this.#stop.signal.aborted) this.#start();
  }

  async #run(name: string): Promise<void> {
    try {
      const againMs = await this.#work(name);
      this.#failures.delete(name);
      if (againMs !== undefined) this.#later(name, againMs);
    } catch (error) {
      const failures = (this.#failures.get(name) ?? 0) + 1;
      this.#failures.set(name, failures);
      this.#options.log.warn('reconcile failed, trying again', { pod: name, failures, error: errorMessage(error) });
      this.#later(name, Math.max(backoffMs(failures), this.#tokenDelayMs()));
    }
  }

  #later(name: string, delayMs: number): void {
    if (this.#stop.signal.aborted || this.#ready.has(name)) return;
    const timer = new AbortController();
    this.#delayed.get(name)?.abort();
    this.#delayed.set(name, timer);
    const wake = (): void => {
      if (this.#delayed.get(name) === timer) this.#delayed.delete(name);
      if (!timer.signal.aborted) this.add(name);
    };
    this.#options.clock.sleep(delayMs, timer.signal).then(wake, wake);
  }

  #tokenDelayMs(): number {
    const nowMs = this.#options.clock.monotonicMs();
    const refill = ((nowMs - this.#tokensAtMs) / 1_000) * RETRIES_PER_SECOND;
    this.#tokens = Math.min(RETRIES_BURST, this.#tokens + refill) - 1;
    this.#tokensAtMs = nowMs;
    return this.#tokens >= 0 ? 0 : (-this.#tokens / RETRIES_PER_SECOND) * 1_000;
  }
}

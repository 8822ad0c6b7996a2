/**
 * Runs one piece of work again whenever something may have changed. Runs never overlap; any number of calls while a run
 * is under way lead to exactly one more. A failed run is reported and tried again after a pause.
 */
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';

const RETRY_MS = 500;

export class ReconcileLoop implements AsyncDisposable {
  readonly #name: string;
  readonly #work: () => Promise<void>;
  readonly #log: Logger;
  #wanted = false;
  #closed = false;
  #running: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(name: string, log: Logger, work: () => Promise<void>) {
    this.#name = name;
    this.#log = log;
    this.#work = work;
  }

  /** Something may have changed. */
  kick(): void {
    if (this.#closed) return;
    this.#wanted = true;
    this.#running ??= this.#run();
  }

  /** Resolves when nothing is to be done any more; used before the state is looked at. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  /** Lets the present run end; no other begins. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#running;
  }

  async #run(): Promise<void> {
    await Promise.resolve(); // several calls in one turn are one run
    while (this.#wanted && !this.#closed) {
      this.#wanted = false;
      try {
        await this.#work();
      } catch (error) {
        if (this.#closed) break;
        this.#log.warn('reconcile failed, trying again', { loop: this.#name, error: errorMessage(error) });
        clearTimeout(this.#retry);
        this.#retry = setTimeout(() => this.kick(), RETRY_MS);
      }
    }
    this.#running = undefined;
  }
}

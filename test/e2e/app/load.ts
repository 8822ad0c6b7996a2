/** A steady rate of requests, each over a new connection, until it is stopped. */
import { fetchOnce } from './request.ts';

export interface LoadOptions {
  readonly url: string;
  readonly perSecond: number;
  readonly timeoutMs: number;
}

export interface LoadSummary {
  readonly sent: number;
  readonly answered: number;
  /** The first failures, with ms since the start. */
  readonly failures: readonly { readonly atMs: number; readonly error: string }[];
  readonly maxMs: number;
}

const FAILURES_MAX = 200;

export class Load {
  readonly #options: LoadOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #startMs = performance.now();
  readonly #open = new Set<Promise<void>>();
  readonly #failures: { atMs: number; error: string }[] = [];
  #sent = 0;
  #answered = 0;
  #maxMs = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#catchUp(), 1_000 / options.perSecond);
  }

  summary(): LoadSummary {
    return { sent: this.#sent, answered: this.#answered, failures: this.#failures, maxMs: this.#maxMs };
  }

  /** What was sent is waited for. */
  async stop(): Promise<LoadSummary> {
    clearInterval(this.#timer);
    await Promise.all(this.#open);
    return this.summary();
  }

  /** Timers of a busy machine come late; the rate holds all the same. */
  #catchUp(): void {
    const due = Math.floor(((performance.now() - this.#startMs) / 1_000) * this.#options.perSecond);
    while (this.#sent < due) {
      this.#sent += 1;
      const call = this.#send();
      this.#open.add(call);
      void call.then(() => this.#open.delete(call));
    }
  }

  async #send(): Promise<void> {
    const atMs = Math.round(performance.now() - this.#startMs);
    const { status, error, durationMs } = await fetchOnce(this.#options);
    this.#maxMs = Math.max(this.#maxMs, durationMs);
    if (status === 200) this.#answered += 1;
    else if (this.#failures.length < FAILURES_MAX) this.#failures.push({ atMs, error: error || String(status) });
  }
}

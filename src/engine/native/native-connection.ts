/**
 * One connection from its acceptance to its one `closed`. Until a thread has it, ending it early is done here.
 *
 * Invariants
 *  - `closed` is told exactly once, whatever ended the connection, and never before the decision.
 *  - The flag and error of the first cut are the outcome's.
 */
import type { ConnectionId, ConnectionOutcome, EngineHandlers, ResponseFlag } from '../port.ts';

export class NativeConnection {
  readonly id: ConnectionId;
  readonly owner: string;
  readonly #handlers: Pick<EngineHandlers, 'opened' | 'established' | 'closed'>;
  readonly #startedMs = performance.now();
  readonly #abort = new AbortController();
  #cutThread: (() => void) | undefined;
  #cut: { readonly flag: ResponseFlag; readonly error: string } | undefined;
  #ended = false;

  constructor(id: ConnectionId, owner: string, handlers: Pick<EngineHandlers, 'opened' | 'established' | 'closed'>) {
    this.id = id;
    this.owner = owner;
    this.#handlers = handlers;
  }

  /** Aborts when the connection is cut or its first side is gone: no use to go on deciding or dialling. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get isCut(): boolean {
    return this.#cut !== undefined;
  }

  /** From now on a thread has it, and `cut` ends it there. */
  handOver(cut: () => void): void {
    this.#cutThread = cut;
    if (this.#cut) cut();
  }

  /** The thread gave it back. */
  takeBack(): void {
    this.#cutThread = undefined;
  }

  opened(): void {
    this.#handlers.opened(this.id);
  }

  established(responseHeaders: Readonly<Record<string, string>>): void {
    if (!this.#ended) this.#handlers.established?.(this.id, responseHeaders);
  }

  abort(): void {
    this.#abort.abort();
  }

  cut(flag: ResponseFlag, error: string): void {
    if (this.#cut || this.#ended) return;
    this.#cut = { flag, error };
    this.#abort.abort();
    this.#cutThread?.();
  }

  /** The end. A cut that came first is told instead of `flag` and `error`. */
  end(
    flag: ResponseFlag,
    {
      error,
      bytesReceived = 0,
      bytesSent = 0,
      headers,
    }: {
      readonly error?: string | undefined;
      readonly bytesReceived?: number;
      readonly bytesSent?: number;
      readonly headers?: ConnectionOutcome['responseHeaders'];
    } = {},
  ): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#abort.abort();
    const reason = this.#cut?.error ?? error;
    this.#handlers.closed(this.id, {
      bytesReceived,
      bytesSent,
      durationMs: performance.now() - this.#startedMs,
      flag: this.#cut?.flag ?? flag,
      ...(reason === undefined ? {} : { error: reason }),
      ...(headers === undefined ? {} : { responseHeaders: headers }),
    });
  }
}

/**
 * One connection from its acceptance to its one `closed`. A thread has its sockets all the time.
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
  readonly #cutThread: () => void;
  #cut: { readonly flag: ResponseFlag; readonly error: string } | undefined;
  #ended = false;

  constructor(
    { id, owner, cut }: { readonly id: ConnectionId; readonly owner: string; readonly cut: () => void },
    handlers: Pick<EngineHandlers, 'opened' | 'established' | 'closed'>,
  ) {
    this.id = id;
    this.owner = owner;
    this.#cutThread = cut;
    this.#handlers = handlers;
  }

  /** Aborts when the connection is cut or its first side is gone: no use to go on deciding or dialling. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get isCut(): boolean {
    return this.#cut !== undefined;
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
    this.#cutThread();
  }

  /** The end. A cut that came first is told instead of `flag` and `error`. */
  end(
    flag: ResponseFlag,
    {
      error,
      bytesReceived = 0,
      bytesSent = 0,
      durationMs = performance.now() - this.#startedMs,
      headers,
    }: {
      readonly error?: string | undefined;
      readonly bytesReceived?: number;
      readonly bytesSent?: number;
      readonly durationMs?: number;
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
      durationMs,
      flag: this.#cut?.flag ?? flag,
      ...(reason === undefined ? {} : { error: reason }),
      ...(headers === undefined ? {} : { responseHeaders: headers }),
    });
  }
}

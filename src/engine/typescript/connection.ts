/**
 * One connection from its acceptance to its one `closed`: its number, its counters and how to end it early.
 *
 * Invariants
 *  - `closed` is told exactly once, whatever ended the connection, and never before the decision.
 *  - After cut() nothing more is moved; the flag and error of the first cut are the outcome's.
 */
import type { Socket } from 'node:net';
import { MeshError } from '../../core/errors.ts';
import type { ConnectionId, ConnectionOutcome, EngineHandlers, ResponseFlag } from '../port.ts';
import { type FarSide, reset } from './join.ts';

/** The reason of every abort: one object, as an error of its own for each connection costs a stack trace. */
const ENDED = new MeshError('ERR_ABORTED', 'the connection has ended');

/** Which side of the application's socket the client is on. */
type ClientSide = 'reads' | 'writes';

export class Connection {
  readonly id: ConnectionId;
  readonly owner: string;
  readonly #handlers: Pick<EngineHandlers, 'opened' | 'established' | 'progress' | 'closed'>;
  readonly #startedMs = performance.now();
  readonly #abort = new AbortController();
  readonly #sides: FarSide[] = [];
  #counted: { readonly socket: Socket; readonly client: ClientSide; readonly preambleBytes: number } | undefined;
  #reported = { received: 0, sent: 0 };
  #cut: { readonly flag: ResponseFlag; readonly error: string } | undefined;
  #ended = false;

  constructor(
    id: ConnectionId,
    owner: string,
    handlers: Pick<EngineHandlers, 'opened' | 'established' | 'progress' | 'closed'>,
  ) {
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

  /** A side that goes when the connection is cut. */
  own(side: FarSide): void {
    this.#sides.push(side);
    if (this.#cut) reset(side);
  }

  abort(): void {
    this.#abort.abort(ENDED);
  }

  /** `socket` is the application's: the client's own (`reads` from it), or the one towards the server (`writes` to it). */
  count(socket: Socket, client: ClientSide, preambleBytes = 0): void {
    this.#counted = { socket, client, preambleBytes };
  }

  opened(): void {
    this.#handlers.opened(this.id);
  }

  established(responseHeaders: Readonly<Record<string, string>>): void {
    if (!this.#ended) this.#handlers.established?.(this.id, responseHeaders);
  }

  /** Reports what moved since the last report, if anything did. */
  report(): void {
    const { received, sent } = this.#totals();
    const { received: before, sent: sentBefore } = this.#reported;
    if (received === before && sent === sentBefore) return;
    this.#reported = { received, sent };
    this.#handlers.progress(this.id, received - before, sent - sentBefore);
  }

  cut(flag: ResponseFlag, error: string): void {
    if (this.#cut || this.#ended) return;
    this.#cut = { flag, error };
    this.#abort.abort(ENDED);
    for (const side of this.#sides) reset(side);
  }

  /** The end. A cut that came first is told instead of `flag` and `error`. */
  end(flag: ResponseFlag, error?: string, responseHeaders?: ConnectionOutcome['responseHeaders']): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#abort.abort(ENDED);
    const { received, sent } = this.#totals();
    const reason = this.#cut?.error ?? error;
    this.#handlers.closed(this.id, {
      bytesReceived: received,
      bytesSent: sent,
      durationMs: performance.now() - this.#startedMs,
      flag: this.#cut?.flag ?? flag,
      ...(reason === undefined ? {} : { error: reason }),
      ...(responseHeaders === undefined ? {} : { responseHeaders }),
    });
  }

  /** Bytes that wait in this process for a slow side. */
  get bufferedBytes(): number {
    let bytes = 0;
    for (const side of this.#sides) bytes += side.writableLength + side.readableLength;
    return bytes;
  }

  #totals(): { readonly received: number; readonly sent: number } {
    if (!this.#counted) return { received: 0, sent: 0 };
    const { socket, client, preambleBytes } = this.#counted;
    const written = Math.max(0, socket.bytesWritten - socket.writableLength - preambleBytes);
    return client === 'reads'
      ? { received: socket.bytesRead, sent: written }
      : { received: written, sent: socket.bytesRead };
  }
}

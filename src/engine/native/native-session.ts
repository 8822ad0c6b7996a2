/**
 * One session on an engine thread, either side. It serves and opens nothing before accept(), which is called when its
 * peer was found to be who it must be.
 */
import { EventEmitter } from 'node:events';
import { MeshError } from '../../core/errors.ts';
import { CLOSE_CAUSE } from './addon.ts';
import type { EngineThreads } from './engine-threads.ts';
import type { IncomingStream, SessionEvents, TakenDecision } from './thread-events.ts';

interface Events {
  close: [];
  error: [];
  /** The peer broke HTTP/2; `close` follows. */
  broken: [reason: string];
  stream: [IncomingStream, TakenDecision | undefined];
}

export class NativeSession extends EventEmitter<Events> {
  readonly thread: number;
  readonly id: number;
  /** The chain that the peer presented and OpenSSL verified, leaf first. Rejects with ERR_TLS. */
  readonly handshake: Promise<readonly Buffer[]>;
  /** Resolves when the peer has said its SETTINGS: it has accepted us. Rejects with ERR_HTTP2. */
  readonly settled: Promise<void>;
  /** Its peer's certificate has been revoked. */
  isRevoked = false;
  closed = false;
  destroyed = false;
  readonly #threads: EngineThreads;
  #accepted = false;
  #failure: Error | undefined;

  /** The thread knows it, or is about to be told, under this number. */
  constructor(threads: EngineThreads, thread: number, id: number) {
    super();
    this.#threads = threads;
    this.thread = thread;
    this.id = id;
    const handshake = Promise.withResolvers<readonly Buffer[]>();
    this.handshake = handshake.promise;
    handshake.promise.catch(() => {});
    const settled = Promise.withResolvers<void>();
    this.settled = settled.promise;
    settled.promise.catch(() => {});
    const isRevoked = () => this.isRevoked;
    const events: SessionEvents = {
      get isRevoked() {
        return isRevoked();
      },
      failure: (cause, reason) => this.#failureOf(cause, reason),
      onHandshake: handshake.resolve,
      onSettings: settled.resolve,
      onStream: (stream, taken) => this.emit('stream', stream, taken),
      onClosed: (reason, cause) => {
        this.closed = true;
        this.destroyed = true;
        const failure = this.#failureOf(cause, reason);
        handshake.reject(failure);
        settled.reject(failure);
        if (cause === CLOSE_CAUSE.http2) this.emit('broken', `h2 failed: ${reason}`);
        this.emit('close');
      },
    };
    threads.watchSession(id, events);
  }

  accept(): void {
    this.#accepted = true;
    this.#threads.acceptSession(this.thread, this.id);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#threads.closeSession(this.thread, this.id, true);
  }

  destroy(): void {
    if (this.destroyed) return;
    this.closed = true;
    this.destroyed = true;
    this.#threads.closeSession(this.thread, this.id, false);
  }

  /** Ends it now; `failure` is what those who wait for it are told. */
  fail(failure: Error): void {
    this.#failure ??= failure;
    this.destroy();
  }

  /** There is no certificate for it. A dial that fails first is what is told. */
  reject(failure: Error): void {
    this.#failure ??= failure;
    this.#threads.useCredentials(this.thread, this.id, null);
  }

  #failureOf(cause: number, reason: string): Error {
    if (this.#failure) return this.#failure;
    if (cause === CLOSE_CAUSE.draining) return new MeshError('ERR_POOL_DRAINING', reason);
    if (cause === CLOSE_CAUSE.tls) return new MeshError('ERR_TLS', `tls error: ${reason}`);
    if (!this.#accepted) return new MeshError('ERR_TLS', reason);
    return new MeshError('ERR_HTTP2', `http2 handshake failed: ${reason}`);
  }
}

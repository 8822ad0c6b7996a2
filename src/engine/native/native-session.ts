/**
 * One session on an engine thread, either side. It serves and opens nothing before accept(), which is called when its
 * peer was found to be who it must be.
 */
import { EventEmitter } from 'node:events';
import { MeshError } from '../../core/errors.ts';
import type { PoolableSession } from '../../hbone/index.ts';
import { CLOSE_CAUSE } from './addon.ts';
import type { EngineThreads, SessionOrder } from './engine-threads.ts';

/** A CONNECT, or whatever else a peer asked, that waits for its answer. */
export interface IncomingStream {
  readonly id: number;
  readonly method: string;
  readonly authority: string;
  /** Names and values in turn. */
  readonly rawHeaders: readonly string[];
}

interface Events {
  goaway: [];
  close: [];
  error: [];
  /** The peer broke HTTP/2; `close` follows. */
  broken: [reason: string];
  stream: [IncomingStream];
}

export class NativeSession extends EventEmitter<Events> implements PoolableSession {
  readonly thread: number;
  readonly id: number;
  /** The chain that the peer presented and OpenSSL verified, leaf first. Rejects with ERR_TLS. */
  readonly handshake: Promise<readonly Buffer[]>;
  /** Resolves when the peer has said its SETTINGS: it has accepted us. Rejects with ERR_HTTP2. */
  readonly settled: Promise<void>;
  readonly remoteSettings: { maxConcurrentStreams?: number } = {};
  /** Its peer's certificate has been revoked. */
  isRevoked = false;
  closed = false;
  destroyed = false;
  readonly #threads: EngineThreads;

  /** The thread owns the descriptor from now on. */
  constructor(threads: EngineThreads, thread: number, order: SessionOrder) {
    super();
    this.#threads = threads;
    this.thread = thread;
    const { promise, resolve, reject } = Promise.withResolvers<readonly Buffer[]>();
    this.handshake = promise;
    promise.catch(() => {});
    const settled = Promise.withResolvers<void>();
    this.settled = settled.promise;
    settled.promise.catch(() => {});
    this.id = threads.openSession(
      thread,
      {
        onHandshake: resolve,
        onSettings: (maxConcurrentStreams) => {
          this.remoteSettings.maxConcurrentStreams = maxConcurrentStreams;
          settled.resolve();
        },
        onGoaway: () => this.emit('goaway'),
        onStream: (id, method, authority, rawHeaders) => this.emit('stream', { id, method, authority, rawHeaders }),
        onClosed: (reason, cause) => {
          this.closed = true;
          this.destroyed = true;
          reject(new MeshError('ERR_TLS', cause === CLOSE_CAUSE.tls ? `tls error: ${reason}` : reason));
          settled.reject(new MeshError('ERR_HTTP2', `http2 handshake failed: ${reason}`));
          if (cause === CLOSE_CAUSE.http2) this.emit('broken', `h2 failed: ${reason}`);
          this.emit('close');
        },
      },
      order,
    );
  }

  accept(): void {
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
}

/**
 * One session on an engine thread, either side. It serves and opens nothing before accept(), which is called when its
 * peer was found to be who it must be.
 */
import { EventEmitter } from 'node:events';
import { MeshError } from '../../core/errors.ts';
import type { PoolableSession } from '../../hbone/index.ts';
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
  stream: [IncomingStream];
}

export class NativeSession extends EventEmitter<Events> implements PoolableSession {
  readonly thread: number;
  readonly id: number;
  /** The chain that the peer presented and OpenSSL verified, leaf first. Rejects with ERR_TLS. */
  readonly handshake: Promise<readonly Buffer[]>;
  readonly remoteSettings: { maxConcurrentStreams?: number } = {};
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
    this.id = threads.openSession(
      thread,
      {
        onHandshake: resolve,
        onSettings: (maxConcurrentStreams) => {
          this.remoteSettings.maxConcurrentStreams = maxConcurrentStreams;
        },
        onGoaway: () => this.emit('goaway'),
        onStream: (id, method, authority, rawHeaders) => this.emit('stream', { id, method, authority, rawHeaders }),
        onClosed: (reason, isTls) => {
          this.closed = true;
          this.destroyed = true;
          reject(new MeshError('ERR_TLS', isTls ? `tls error: ${reason}` : reason));
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

/**
 * Pool of HBONE client sessions: HTTP/2 over mutual TLS, many CONNECT streams per session.
 *
 * Invariants
 *  - A session carries the streams of exactly one key.
 *  - A session at its limit, or at its peer's SETTINGS_MAX_CONCURRENT_STREAMS, is not handed out until a stream ends.
 *  - At most one dial per key is under way; its result is shared by all who wait.
 *  - A session that closed or received GOAWAY is never handed out again; its open streams go on.
 *  - After drain() no session is opened; idle sessions are closed, busy ones when their last stream ends.
 * Source: RFC 9113 sections 5.1.2 (concurrency) and 6.8 (GOAWAY).
 */
import { MeshError } from '../core/errors.ts';

/** What the pool needs of a session; a `ClientHttp2Session` has it. */
export interface PoolableSession {
  readonly closed: boolean;
  readonly destroyed: boolean;
  readonly remoteSettings: { readonly maxConcurrentStreams?: number | undefined };
  once(event: 'goaway' | 'close', listener: () => void): unknown;
  /** Ends when its last stream has ended. */
  close(): void;
  /** Ends now. */
  destroy(): void;
}

export interface SessionPoolOptions {
  readonly maxStreamsPerSession: number;
  /** An unused session is closed after this. */
  readonly idleTimeoutMs: number;
}

/** One stream's place on a session. Release it when the stream has ended; releasing twice does nothing. */
export interface SessionLease<S extends PoolableSession> extends Disposable {
  readonly session: S;
  /** Whether the session was open before this lease was asked for: it may have died unnoticed. */
  readonly reused: boolean;
}

interface Pooled<S extends PoolableSession> {
  readonly session: S;
  streams: number;
  usable: boolean;
  idle: NodeJS.Timeout | undefined;
}

export class SessionPool<S extends PoolableSession> {
  readonly #options: SessionPoolOptions;
  readonly #sessions = new Map<string, Pooled<S>[]>();
  readonly #dials = new Map<string, Promise<Pooled<S>>>();
  #draining = false;

  constructor(options: SessionPoolOptions) {
    this.#options = options;
  }

  /** Number of open sessions. */
  get size(): number {
    let count = 0;
    for (const sessions of this.#sessions.values()) count += sessions.length;
    return count;
  }

  /** Leases a place on a session of `key`, opening one by `dial` when needed. Rejects as `dial`, or ERR_POOL_DRAINING. */
  async lease(key: string, dial: () => Promise<S>): Promise<SessionLease<S>> {
    let reused = true;
    for (;;) {
      if (this.#draining) throw new MeshError('ERR_POOL_DRAINING', 'pool draining');
      const free = this.#sessions.get(key)?.find((pooled) => this.#hasRoom(pooled));
      if (free) return this.#take(free, reused);
      reused = false;
      await this.#open(key, dial);
    }
  }

  /** Closes what is idle and refuses what is new. Idempotent. */
  drain(): void {
    this.#draining = true;
    for (const sessions of this.#sessions.values()) {
      for (const pooled of [...sessions]) {
        pooled.usable = false;
        if (pooled.streams === 0) pooled.session.close();
      }
    }
  }

  /** Ends every session at once, its streams included. */
  destroy(): void {
    this.drain();
    for (const sessions of this.#sessions.values()) for (const { session } of [...sessions]) session.destroy();
  }

  #hasRoom({ session, streams, usable }: Pooled<S>): boolean {
    if (!usable || session.closed || session.destroyed) return false;
    const peerLimit = session.remoteSettings?.maxConcurrentStreams ?? this.#options.maxStreamsPerSession;
    return streams < Math.min(this.#options.maxStreamsPerSession, peerLimit);
  }

  #open(key: string, dial: () => Promise<S>): Promise<Pooled<S>> {
    const underway = this.#dials.get(key);
    if (underway) return underway;
    const opening = dial()
      .then((session) => this.#add(key, session))
      .finally(() => this.#dials.delete(key));
    this.#dials.set(key, opening);
    return opening;
  }

  #add(key: string, session: S): Pooled<S> {
    const pooled: Pooled<S> = { session, streams: 0, usable: true, idle: undefined };
    if (this.#draining || session.destroyed) {
      session.destroy();
      throw new MeshError('ERR_POOL_DRAINING', 'pool draining');
    }
    session.once('goaway', () => {
      pooled.usable = false;
    });
    session.once('close', () => this.#remove(key, pooled));
    const sessions = this.#sessions.get(key);
    if (sessions) sessions.push(pooled);
    else this.#sessions.set(key, [pooled]);
    this.#becomeIdle(pooled);
    return pooled;
  }

  #remove(key: string, pooled: Pooled<S>): void {
    pooled.usable = false;
    clearTimeout(pooled.idle);
    const left = (this.#sessions.get(key) ?? []).filter((other) => other !== pooled);
    if (left.length > 0) this.#sessions.set(key, left);
    else this.#sessions.delete(key);
  }

  #take(pooled: Pooled<S>, reused: boolean): SessionLease<S> {
    pooled.streams += 1;
    clearTimeout(pooled.idle);
    let held = true;
    return {
      session: pooled.session,
      reused,
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        pooled.streams -= 1;
        if (pooled.streams === 0) this.#becomeIdle(pooled);
      },
    };
  }

  #becomeIdle(pooled: Pooled<S>): void {
    if (!pooled.usable) {
      pooled.session.close();
      return;
    }
    pooled.idle = setTimeout(() => {
      pooled.usable = false;
      pooled.session.close();
    }, this.#options.idleTimeoutMs);
    pooled.idle.unref();
  }
}

/** The client side: pooled sessions to a peer, one stream per connection on them, and tunnels inside tunnels. */
import { closeFd } from 'culvert-netns';
import { errorMessage, MeshError } from '../../core/errors.ts';
import { checkRevocation, checkServer, StreamRefusedError } from '../../hbone/index.ts';
import { PeerRevokedError } from '../../pki/index.ts';
import type { Dialer } from '../dialer.ts';
import { REVOKED } from '../failure.ts';
import type { OwnerScope } from '../owner-scope.ts';
import type { PeerWatch } from '../peer-watch.ts';
import type {
  EngineHandlers,
  EngineOptions,
  ForwardDoubleHbone,
  ForwardHbone,
  HboneConnect,
  HboneSessionKey,
} from '../port.ts';
import { poolKey, sessionDialError } from '../session-key.ts';
import type { EngineThreads, SessionOrder, StreamEnded } from './engine-threads.ts';
import type { NativeConnection } from './native-connection.ts';
import { NativeSession } from './native-session.ts';
import { toError } from './stream-outcome.ts';
import type { TlsContexts } from './tls-contexts.ts';

export interface TunnelDialDeps {
  readonly handlers: Pick<EngineHandlers, 'credentials' | 'peerRevoked'>;
  readonly options: EngineOptions;
  readonly threads: EngineThreads;
  readonly dialer: Dialer;
  readonly contexts: TlsContexts;
  readonly peers: PeerWatch;
}

type Scope = OwnerScope<NativeSession>;

/** The application's descriptor; whoever holds it closes it. */
export interface HeldSocket {
  fd: number;
}

export class TunnelDial {
  readonly #deps: TunnelDialDeps;

  constructor(deps: TunnelDialDeps) {
    this.#deps = deps;
  }

  /**
   * Carries `socket` over one stream to the end of both. A session that died before it answered is replaced once.
   * Rejects with a MeshError before there was an answer; `socket` then has the descriptor again.
   */
  async carry(
    scope: Scope,
    { session: key, connect }: Pick<ForwardHbone, 'session' | 'connect'>,
    { connection, socket }: { readonly connection: NativeConnection; readonly socket: HeldSocket },
  ): Promise<StreamEnded> {
    for (let attempt = 1; ; attempt++) {
      using lease = await this.#lease(scope, key, connection.signal);
      const end = await this.#connect(lease.session, connect, { connection, socket });
      if (typeof end !== 'string') return end;
      if (attempt === 1 && lease.reused && !connection.isCut) continue;
      throw new StreamRefusedError(new Error(end));
    }
  }

  /** The same over a session of its own inside an outer stream. */
  async carryDouble(
    scope: Scope,
    { session: key, connect, innerExpectedIdentities, innerConnect }: ForwardDoubleHbone,
    { connection, socket }: { readonly connection: NativeConnection; readonly socket: HeldSocket },
  ): Promise<StreamEnded> {
    const { threads } = this.#deps;
    const { signal } = connection;
    const lease = await this.#lease(scope, key, signal);
    const { thread } = lease.session;
    const outer = threads.nextId();
    const cutOuter = () => threads.cut(thread, outer);
    const established = threads.established(outer).then(() => undefined);
    const outerEnd = threads.connect(thread, outer, { session: lease.session.id, fd: -1, ...connect });
    void outerEnd.then(() => lease[Symbol.dispose]());
    signal.addEventListener('abort', cutOuter, { once: true });
    if (signal.aborted) cutOuter();
    try {
      const failed = await Promise.race([established, outerEnd]);
      if (failed) {
        throw failed.kind === 'refused'
          ? new StreamRefusedError(new Error(failed.reason))
          : (toError(failed) ?? new MeshError('ERR_ABORTED', 'the outer stream ended'));
      }
      const inner = await this.#openSession(thread, { carrier: outer }, key, innerExpectedIdentities);
      const end = await this.#connect(inner, innerConnect, { connection, socket });
      inner.close();
      if (lease.session.isRevoked) connection.cut(REVOKED.flag, REVOKED.error);
      if (typeof end === 'string') throw new StreamRefusedError(new Error(end));
      return end;
    } catch (error) {
      cutOuter();
      throw error;
    } finally {
      signal.removeEventListener('abort', cutOuter);
    }
  }

  /** The end, or why the stream was refused. */
  async #connect(
    session: NativeSession,
    connect: HboneConnect,
    { connection, socket }: { readonly connection: NativeConnection; readonly socket: HeldSocket },
  ): Promise<StreamEnded | string> {
    const { threads } = this.#deps;
    if (connection.isCut) return 'the connection was cut';
    const { fd } = socket;
    socket.fd = -1;
    const ending = threads.connect(session.thread, connection.id, { session: session.id, fd, ...connect });
    connection.handOver(() => threads.cut(session.thread, connection.id));
    void threads.established(connection.id).then((responseHeaders) => connection.established(responseHeaders));
    const end = await ending;
    connection.takeBack();
    if (session.isRevoked) connection.cut(REVOKED.flag, REVOKED.error);
    if (end.kind === 'ended') return end;
    socket.fd = end.fd;
    return end.reason;
  }

  async #lease(scope: Scope, key: HboneSessionKey, signal: AbortSignal) {
    const lease = await scope.pool.lease(poolKey(key), () => this.#dialSession(scope, key));
    if (!signal.aborted) return lease;
    lease[Symbol.dispose]();
    throw new MeshError('ERR_ABORTED', 'the application closed the connection');
  }

  async #dialSession(scope: Scope, key: HboneSessionKey): Promise<NativeSession> {
    // the dial is shared by all who wait for it: none of their signals may end it
    const signal = AbortSignal.timeout(this.#deps.options.connectTimeoutMs + 1_000);
    const fd = await this.#deps.dialer.dial(scope.netns, { to: key.peer }, signal).catch((error: unknown) => {
      throw sessionDialError(error, key);
    });
    return this.#openSession(this.#deps.threads.pickThread(), { fd }, key, key.expectedIdentities);
  }

  /** Owns the descriptor in `over`. */
  async #openSession(
    thread: number,
    over: SessionOrder['over'],
    { identity }: Pick<HboneSessionKey, 'identity'>,
    expectedIdentities: readonly string[],
  ): Promise<NativeSession> {
    const { handlers, options, threads, contexts, peers } = this.#deps;
    let session: NativeSession | undefined;
    try {
      const credentials = await handlers.credentials(identity, AbortSignal.timeout(options.connectTimeoutMs));
      const context = contexts.get(credentials);
      session = new NativeSession(threads, thread, {
        isServer: false,
        context,
        timeoutMs: options.connectTimeoutMs,
        over,
      });
      const chain = await session.handshake;
      checkServer(chain[0] ?? new Uint8Array(), expectedIdentities);
      const check = { chain, rootsPem: credentials.rootsPem, peerIs: 'server', atMs: Date.now() } as const;
      checkRevocation(check, peers.revocations());
      if (session.destroyed) throw new MeshError('ERR_HBONE_DIAL', 'the session closed while it was opened');
      const opened = session;
      peers.watch(opened, check, () => {
        opened.isRevoked = true;
      });
      opened.accept();
      await opened.settled;
      return opened;
    } catch (error) {
      if (error instanceof PeerRevokedError) handlers.peerRevoked?.('outbound');
      if (session) session.destroy();
      else if ('fd' in over) closeFd(over.fd);
      throw error instanceof MeshError ? error : new MeshError('ERR_IDENTITY', errorMessage(error), { cause: error });
    }
  }
}

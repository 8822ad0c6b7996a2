/** The client side of the engine: pooled sessions to a peer, streams on them, and tunnels inside tunnels. */
import { type ClientHttp2Session, type ClientHttp2Stream, constants } from 'node:http2';
import type { Duplex } from 'node:stream';
import { errorMessage, MeshError } from '../../core/errors.ts';
import {
  type ClientSession,
  checkRevocation,
  openClientSession,
  openConnectStream,
  presentedChain,
  type SessionPool,
  StreamRefusedError,
  type TlsContextCache,
} from '../../hbone/index.ts';
import { PeerRevokedError } from '../../pki/index.ts';
import type { Dialer } from '../dialer.ts';
import type { OwnerScope } from '../owner-scope.ts';
import type { PeerWatch } from '../peer-watch.ts';
import type { EngineHandlers, EngineOptions, ForwardDoubleHbone, ForwardHbone, HboneSessionKey } from '../port.ts';
import { poolKey, sessionDialError } from '../session-key.ts';
import { TcpSocket } from './tcp-socket.ts';
import { TunnelDuplex } from './tunnel-duplex.ts';

/** A peer may wait 5 s for its workload and 10 s for its application before it answers. */
const CONNECT_ANSWER_TIMEOUT_MS = 30_000;

type Scope = OwnerScope<SessionPool<ClientHttp2Session>>;

/** Sessions that are tried for one stream: at an upgrade a fresh one may be told to go away as well. */
const ATTEMPTS_MAX = 3;

export interface HboneDialDeps {
  readonly handlers: Pick<EngineHandlers, 'credentials' | 'peerRevoked'>;
  readonly options: EngineOptions;
  readonly dialer: Dialer;
  readonly contexts: TlsContextCache;
  readonly peers: PeerWatch;
}

/** A stream ready to carry the application's bytes. Disposing gives its place on the session back. */
export interface OpenTunnel extends Disposable {
  readonly stream: ClientHttp2Stream;
  readonly responseHeaders: Readonly<Record<string, string>>;
  /** Whether the session was ended because its peer's certificate was revoked. */
  readonly isRevoked: () => boolean;
}

export class HboneDial {
  readonly #deps: HboneDialDeps;
  /** Sessions that were ended by a revocation. */
  readonly #revoked = new WeakSet<ClientHttp2Session>();

  constructor(deps: HboneDialDeps) {
    this.#deps = deps;
  }

  /** Rejects with a MeshError; a session that went away before it answered is replaced, by that of another tunnel for one. */
  async open(
    scope: Scope,
    { session: key, connect }: Pick<ForwardHbone, 'session' | 'connect'>,
    signal: AbortSignal,
  ): Promise<OpenTunnel> {
    for (let attempt = 1; ; attempt++) {
      const lease = await scope.pool.lease(poolKey(key), () => this.#dialSession(scope, key));
      try {
        const { stream, headers } = await openConnectStream(lease.session, connect, {
          timeoutMs: CONNECT_ANSWER_TIMEOUT_MS,
          signal,
        });
        stream.once('close', () => lease[Symbol.dispose]());
        return {
          stream,
          responseHeaders: headers,
          isRevoked: () => this.#revoked.has(lease.session),
          [Symbol.dispose]: () => lease[Symbol.dispose](),
        };
      } catch (error) {
        lease[Symbol.dispose]();
        if (error instanceof StreamRefusedError && attempt < ATTEMPTS_MAX) continue;
        throw error;
      }
    }
  }

  /** A session of its own inside an outer stream, and one CONNECT on it. */
  async openDouble(scope: Scope, decision: ForwardDoubleHbone, signal: AbortSignal): Promise<OpenTunnel> {
    const outer = await this.open(scope, decision, signal);
    let inner: ClientSession | undefined;
    try {
      inner = await this.#openSession(
        new TunnelDuplex(outer.stream),
        decision.session,
        decision.innerExpectedIdentities,
      );
      const { session } = inner;
      const { stream, headers } = await openConnectStream(session, decision.innerConnect, {
        timeoutMs: CONNECT_ANSWER_TIMEOUT_MS,
        signal,
      });
      stream.once('close', () => session.close());
      return {
        stream,
        responseHeaders: headers,
        isRevoked: () => this.#revoked.has(session) || outer.isRevoked(),
        [Symbol.dispose]: () => outer[Symbol.dispose](),
      };
    } catch (error) {
      inner?.session.destroy();
      outer.stream.close(constants.NGHTTP2_CANCEL);
      throw error;
    }
  }

  async #dialSession(scope: Scope, key: HboneSessionKey): Promise<ClientHttp2Session> {
    // the dial is shared by all who wait for it: none of their signals may end it
    const signal = AbortSignal.timeout(this.#deps.options.connectTimeoutMs + 1_000);
    const fd = await this.#deps.dialer.dial(scope.netns, { to: key.peer }, signal).catch((error: unknown) => {
      throw sessionDialError(error, key);
    });
    return (await this.#openSession(new TcpSocket(fd), key, key.expectedIdentities)).session;
  }

  async #openSession(
    transport: Duplex,
    { identity }: Pick<HboneSessionKey, 'identity'>,
    expectedIdentities: readonly string[],
  ): Promise<ClientSession> {
    const { handlers, options, contexts, peers } = this.#deps;
    // an 'error' between here and the handshake must not be unheard
    transport.on('error', () => {});
    try {
      const credentials = await handlers.credentials(identity, AbortSignal.timeout(options.connectTimeoutMs));
      const opened = await openClientSession(transport, {
        context: contexts.get(credentials),
        expectedIdentities,
        limits: options,
        handshakeTimeoutMs: options.connectTimeoutMs,
      });
      const check = {
        chain: presentedChain(opened.tls),
        rootsPem: credentials.rootsPem,
        peerIs: 'server',
        atMs: Date.now(),
      } as const;
      try {
        checkRevocation(check, peers.revocations());
      } catch (error) {
        if (error instanceof PeerRevokedError) handlers.peerRevoked?.('outbound');
        opened.session.destroy();
        throw error;
      }
      peers.watch(opened.session, check, () => this.#revoked.add(opened.session));
      return opened;
    } catch (error) {
      transport.destroy();
      throw error instanceof MeshError ? error : new MeshError('ERR_IDENTITY', errorMessage(error), { cause: error });
    }
  }
}

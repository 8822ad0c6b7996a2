/**
 * HBONE sessions that peers open to one pod, and their streams. A session's peer is verified before any of its streams
 * is looked at: the chain by OpenSSL, then the identity and the revocation lists here.
 */
import { type AcceptedSocket, closeFd } from 'culvert-netns';
import { checkClient, checkRevocation } from '../../hbone/index.ts';
import type { Identity } from '../../model/identity.ts';
import { readHeaders } from '../connect-headers.ts';
import type { ConnectionSet } from '../connection-set.ts';
import type { Dialer } from '../dialer.ts';
import { REVOKED, toFailure } from '../failure.ts';
import { openListener } from '../listener.ts';
import type { OwnerScope } from '../owner-scope.ts';
import type { PeerWatch } from '../peer-watch.ts';
import type { EngineHandlers, EngineListener, EngineOptions, HboneStream, ListenerOptions } from '../port.ts';
import type { SessionSet } from '../session-set.ts';
import type { EngineThreads, StreamEnd } from './engine-threads.ts';
import { NativeConnection } from './native-connection.ts';
import { type IncomingStream, NativeSession } from './native-session.ts';
import { endConnection } from './stream-outcome.ts';
import type { TlsContexts } from './tls-contexts.ts';

/** The application could not be reached. */
const UNAVAILABLE = 503;

export interface HboneServiceDeps {
  readonly handlers: EngineHandlers;
  readonly options: EngineOptions;
  readonly threads: EngineThreads;
  readonly dialer: Dialer;
  readonly contexts: TlsContexts;
  readonly connections: ConnectionSet<NativeConnection>;
  readonly sessions: SessionSet;
  readonly peers: PeerWatch;
}

type Scope = OwnerScope<NativeSession>;
type Addresses = Pick<AcceptedSocket, 'remote' | 'local'>;

export function listenHbone(deps: HboneServiceDeps, scope: Scope, options: ListenerOptions): EngineListener {
  return openListener(scope, options, (accepted) => void openSession(deps, scope, accepted));
}

/** Owns the descriptor. Never rejects. */
async function openSession(deps: HboneServiceDeps, scope: Scope, accepted: AcceptedSocket): Promise<void> {
  const { handlers, options, threads, contexts, sessions, peers } = deps;
  handlers.socketsOpen('inbound-hbone', 1);
  let session: NativeSession | undefined;
  try {
    const signal = AbortSignal.timeout(options.connectTimeoutMs);
    const identity = await handlers.serverIdentity(scope.name, signal);
    const credentials = await handlers.credentials(identity, signal);
    const context = contexts.get(credentials);
    session = new NativeSession(threads, threads.pickThread(), {
      isServer: true,
      context,
      timeoutMs: options.connectTimeoutMs,
      over: { fd: accepted.fd },
    });
    session.once('close', () => handlers.socketsOpen('inbound-hbone', -1));
    const open = sessions.add(scope.name, session);
    const chain = await session.handshake;
    const peerIdentity = checkClient(chain[0] ?? new Uint8Array(), credentials.identity.trustDomain);
    const check = { chain, rootsPem: credentials.rootsPem, peerIs: 'client', atMs: Date.now() } as const;
    checkRevocation(check, peers.revocations());
    peers.watch(session, check, () => open.cut(REVOKED.flag, REVOKED.error));
    session.once('broken', (error) => {
      const failure = { owner: scope.name, kind: 'inbound-hbone', source: accepted.remote } as const;
      handlers.handshakeFailed({ ...failure, flag: 'H2_HANDSHAKE_FAILURE', error });
    });
    serveSession(deps, scope, { session, peerIdentity, addresses: accepted, connectionIds: open.connections });
    session.accept();
  } catch (error) {
    const { flag, error: text } = toFailure(error);
    if (flag === 'CERT_REVOKED') handlers.peerRevoked?.('inbound-hbone');
    handlers.handshakeFailed({ owner: scope.name, kind: 'inbound-hbone', source: accepted.remote, flag, error: text });
    if (session) {
      session.destroy();
    } else {
      closeFd(accepted.fd);
      handlers.socketsOpen('inbound-hbone', -1);
    }
  }
}

function serveSession(
  deps: HboneServiceDeps,
  scope: Scope,
  {
    session,
    peerIdentity,
    addresses,
    connectionIds,
  }: {
    readonly session: NativeSession;
    readonly peerIdentity: Identity;
    readonly addresses: Addresses;
    readonly connectionIds: Set<number>;
  },
): void {
  session.on('stream', ({ id, method, authority, rawHeaders }: IncomingStream) => {
    const ending = deps.threads.ending(id);
    const connection = new NativeConnection(id, scope.name, deps.handlers);
    void deps.connections.run(connection, async () => {
      connectionIds.add(id);
      await serveStream(deps, scope, {
        connection,
        thread: session.thread,
        ending,
        facts: {
          id,
          owner: scope.name,
          kind: 'inbound-hbone',
          peerIdentity,
          source: addresses.remote,
          localAddress: addresses.local,
          method,
          authority,
          headers: readHeaders(rawHeaders),
        },
      });
      connectionIds.delete(id);
    });
  });
}

/** Never rejects. */
async function serveStream(
  { handlers, threads, dialer }: HboneServiceDeps,
  { netns }: Scope,
  {
    connection,
    thread,
    ending,
    facts,
  }: {
    readonly connection: NativeConnection;
    readonly thread: number;
    readonly ending: Promise<StreamEnd>;
    readonly facts: HboneStream;
  },
): Promise<void> {
  const { id } = connection;
  void ending.then(() => connection.abort());
  connection.handOver(() => threads.cut(thread, id));
  try {
    const decision = await handlers.decideInboundHbone(facts, connection.signal);
    if (decision.action === 'refuse') {
      threads.answer(thread, id, decision.status);
      connection.end('-', { error: decision.reason });
      return;
    }
    connection.opened();
    const fd = await dialer.dial(netns, decision, connection.signal);
    threads.serve(thread, id, fd, { headers: decision.responseHeaders, preamble: decision.preamble });
  } catch (error) {
    threads.answer(thread, id, UNAVAILABLE);
    const { flag, error: text } = toFailure(error);
    connection.end(flag, { error: text });
    return;
  }
  const end = await ending;
  if (end.kind === 'ended') endConnection(connection, { ...end, headers: undefined });
  else connection.end('CONNECT', { error: end.reason });
}

/**
 * HBONE sessions that peers open to one pod, and their streams. A session's peer is verified before any of its streams
 * is looked at: the chain by OpenSSL, then the identity and the revocation lists here.
 */
import { MeshError } from '../../core/errors.ts';
import { checkClient, checkRevocation } from '../../hbone/index.ts';
import type { Identity } from '../../model/identity.ts';
import { readHeaders } from '../connect-headers.ts';
import type { ConnectionSet } from '../connection-set.ts';
import { REVOKED, toFailure } from '../failure.ts';
import type { OwnerScope } from '../owner-scope.ts';
import type { PeerWatch } from '../peer-watch.ts';
import type { EngineHandlers, EngineListener, EngineOptions, HboneStream, ListenerOptions } from '../port.ts';
import type { SessionSet } from '../session-set.ts';
import type { EngineThreads } from './engine-threads.ts';
import { NativeConnection } from './native-connection.ts';
import { openNativeListener } from './native-listener.ts';
import { NativeSession } from './native-session.ts';
import type { OwnerPool } from './owner-pool.ts';
import { endConnection } from './stream-outcome.ts';
import type { AcceptedConnection, IncomingStream, TakenDecision } from './thread-events.ts';
import type { TlsContexts } from './tls-contexts.ts';

/** The application could not be reached. */
const UNAVAILABLE = 503;

export interface HboneServiceDeps {
  readonly handlers: EngineHandlers;
  readonly options: EngineOptions;
  readonly threads: EngineThreads;
  readonly contexts: TlsContexts;
  readonly connections: ConnectionSet<NativeConnection>;
  readonly sessions: SessionSet;
  readonly peers: PeerWatch;
}

type Scope = OwnerScope<OwnerPool>;

export function listenHbone(deps: HboneServiceDeps, scope: Scope, options: ListenerOptions): EngineListener {
  return openNativeListener(deps, { scope, listen: options }, (accepted) => void openSession(deps, scope, accepted));
}

/** Never rejects. */
async function openSession(deps: HboneServiceDeps, scope: Scope, accepted: AcceptedConnection): Promise<void> {
  const { handlers, options, threads, contexts, sessions, peers } = deps;
  const { id, thread, remote: source } = accepted;
  handlers.socketsOpen('inbound-hbone', 1);
  let session: NativeSession | undefined;
  try {
    const signal = AbortSignal.timeout(options.connectTimeoutMs);
    const identity = await handlers.serverIdentity(scope.name, signal);
    const credentials = await handlers.credentials(identity, signal);
    const context = contexts.get(credentials);
    session = new NativeSession(threads, thread, id);
    session.once('close', () => handlers.socketsOpen('inbound-hbone', -1));
    const open = sessions.add(scope.name, session);
    threads.serveSession(thread, id, context);
    if (scope.isLeaving) session.close(); // when it is open: accepted just before the listener closed
    const chain = await session.handshake;
    const peerIdentity = checkClient(chain[0] ?? new Uint8Array(), credentials.identity.trustDomain);
    const check = { chain, rootsPem: credentials.rootsPem, peerIs: 'client', atMs: Date.now() } as const;
    checkRevocation(check, peers.revocations());
    peers.watch(session, check, () => open.cut(REVOKED.flag, REVOKED.error));
    session.once('broken', (error) => {
      handlers.handshakeFailed({
        owner: scope.name,
        kind: 'inbound-hbone',
        source,
        flag: 'H2_HANDSHAKE_FAILURE',
        error,
      });
    });
    serveSession(deps, scope, { session, peerIdentity, accepted, connectionIds: open.connections });
    session.accept();
  } catch (error) {
    const { flag, error: text } = toFailure(error);
    if (flag === 'CERT_REVOKED') handlers.peerRevoked?.('inbound-hbone');
    handlers.handshakeFailed({ owner: scope.name, kind: 'inbound-hbone', source, flag, error: text });
    if (session) {
      session.destroy();
    } else {
      threads.dismiss(thread, id, UNAVAILABLE);
      handlers.socketsOpen('inbound-hbone', -1);
    }
  }
}

interface VerifiedSession {
  readonly session: NativeSession;
  readonly peerIdentity: Identity;
  readonly accepted: AcceptedConnection;
  readonly connectionIds: Set<number>;
}

function serveSession(deps: HboneServiceDeps, scope: Scope, verified: VerifiedSession): void {
  const { handlers, threads, connections } = deps;
  const { session, connectionIds } = verified;
  session.on('stream', (stream, taken) => {
    const { id } = stream;
    const cut = (): void => threads.cut(session.thread, id);
    const connection = new NativeConnection({ id, owner: scope.name, cut }, handlers);
    connectionIds.add(id);
    void connections
      .run(connection, () => {
        const facts = factsOf(connection, verified, stream);
        return taken
          ? followStream(deps, connection, { facts, taken })
          : serveStream(deps, connection, { verified, facts });
      })
      .finally(() => connectionIds.delete(id));
  });
}

function factsOf(
  { id, owner }: NativeConnection,
  { peerIdentity, accepted }: VerifiedSession,
  { method, authority, rawHeaders }: IncomingStream,
): HboneStream {
  return {
    id,
    owner,
    kind: 'inbound-hbone',
    peerIdentity,
    source: accepted.remote,
    localAddress: accepted.local,
    method,
    authority,
    headers: readHeaders(rawHeaders),
    encrypted: true,
  };
}

/** A thread has given a remembered decision and goes on by itself. */
async function followStream(
  { handlers, threads }: HboneServiceDeps,
  connection: NativeConnection,
  { facts, taken }: { readonly facts: HboneStream; readonly taken: TakenDecision },
): Promise<void> {
  const ending = threads.ending(connection.id);
  const error = handlers.reused?.(facts, taken.token, taken.isCurrent);
  connection.opened();
  if (error !== undefined) connection.cut('DENY', error);
  endConnection(connection, { ...(await ending), headers: undefined, session: undefined });
}

/** Never rejects. */
async function serveStream(
  { handlers, threads }: HboneServiceDeps,
  connection: NativeConnection,
  { verified, facts }: { readonly verified: VerifiedSession; readonly facts: HboneStream },
): Promise<void> {
  const { thread } = verified.session;
  const { id } = connection;
  const ending = threads.ending(id);
  void ending.then(() => connection.abort());
  try {
    const decision = await handlers.decideInboundHbone(facts, connection.signal);
    if (decision.action === 'refuse') {
      threads.dismiss(thread, id, decision.status);
      connection.end('-', { error: decision.reason });
      return;
    }
    if (decision.action === 'terminate')
      throw new MeshError('ERR_UNSUPPORTED', 'this engine does not terminate tunnels');
    connection.opened();
    const reusable = handlers.reusable?.(facts);
    if (reusable) threads.remember(thread, id, reusable);
    threads.forward(thread, id, decision);
  } catch (error) {
    threads.dismiss(thread, id, UNAVAILABLE);
    const { flag, error: text } = toFailure(error);
    connection.end(flag, { error: text });
    return;
  }
  endConnection(connection, { ...(await ending), headers: undefined, session: undefined });
}

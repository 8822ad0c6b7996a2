/** A connection between two pods of this node: both sides are asked as ever, and joined without a session. */
import { STATUS_CODES } from 'node:http';
import { MeshError } from '../../core/errors.ts';
import type { ConnectionSet } from '../connection-set.ts';
import type { Dialer } from '../dialer.ts';
import { toFailure } from '../failure.ts';
import type { ListeningScope } from '../listener.ts';
import { type LocalPeers, localStream } from '../local-peers.ts';
import type { ConnectionId, EngineHandlers, ForwardLocal, ForwardPlain, PlainConnection } from '../port.ts';
import { Connection } from './connection.ts';
import { join } from './join.ts';
import { TcpSocket } from './tcp-socket.ts';

export interface LocalJoinDeps {
  readonly handlers: EngineHandlers;
  readonly dialer: Dialer;
  readonly connections: ConnectionSet<Connection>;
  readonly nextId: () => ConnectionId;
  readonly localPeers: LocalPeers;
  readonly findScope: (owner: string) => ListeningScope | undefined;
}

interface Joined {
  readonly connection: Connection;
  readonly socket: TcpSocket;
  readonly facts: PlainConnection;
}

/** Resolves with what went wrong, as `join`. Rejects when there is no other end for the connection. */
export async function joinLocally(
  deps: LocalJoinDeps,
  decision: ForwardLocal,
  joined: Joined,
): Promise<Error | undefined> {
  const { connections, nextId, handlers, localPeers, findScope } = deps;
  const { connection } = joined;
  const scope = findScope(decision.to);
  if (!scope) throw new MeshError('ERR_DIAL', 'the pod at the other end is gone');
  const checks = await localPeers.verify(decision, { source: joined.facts.source, signal: connection.signal });
  const inbound = new Connection(nextId(), decision.to, handlers);
  const unwatch = localPeers.watch(checks, [inbound, connection]);
  let error: Error | undefined;
  try {
    await connections.run(inbound, async () => {
      error = await serve(deps, scope, { ...joined, decision, inbound });
    });
    return error;
  } finally {
    unwatch();
  }
}

async function serve(
  { handlers, dialer }: LocalJoinDeps,
  { netns }: ListeningScope,
  {
    connection,
    socket,
    facts,
    decision,
    inbound,
  }: Joined & { readonly decision: ForwardLocal; readonly inbound: Connection },
): Promise<Error | undefined> {
  let status = 503;
  let application: TcpSocket;
  let answer: ForwardPlain;
  try {
    const decided = await handlers.decideInboundHbone(localStream(inbound.id, decision, facts), connection.signal);
    if (decided.action !== 'forward') {
      const isRefusal = decided.action === 'refuse';
      if (isRefusal) status = decided.status;
      const reason = isRefusal ? decided.reason : 'a pod of this node is not terminated';
      inbound.end('-', reason);
      throw new MeshError('ERR_POLICY_DENIED', reason);
    }
    answer = decided;
    inbound.opened();
    application = new TcpSocket(await dialer.dial(netns, decided, connection.signal));
  } catch (error) {
    const { flag, error: text } = toFailure(error);
    inbound.end(flag, text);
    throw new MeshError('ERR_HBONE_STATUS', `http status: ${status} ${STATUS_CODES[status] ?? ''}`.trimEnd());
  }
  const { preamble, responseHeaders = {} } = answer;
  for (const side of [connection, inbound]) side.own(application);
  inbound.own(socket);
  inbound.count(application, 'writes', preamble?.length ?? 0);
  if (preamble) application.write(preamble);
  connection.established(responseHeaders);
  const error = await join(socket, application);
  finish(inbound, error);
  return error;
}

/** A reset after bytes flowed is an ending, anything else that broke a side is a failure. */
function finish(inbound: Connection, error: Error | undefined): void {
  const failure = error && toFailure(error);
  inbound.end(failure?.flag ?? '-', failure?.error);
}

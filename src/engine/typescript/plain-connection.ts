/** Serves one captured connection: asks, opens the next hop, joins. */
import type { ClientHttp2Session } from 'node:http2';
import type { SessionPool } from '../../hbone/index.ts';
import type { Dialer } from '../dialer.ts';
import { REVOKED, toFailure } from '../failure.ts';
import type { OwnerScope } from '../owner-scope.ts';
import type {
  EngineHandlers,
  ForwardDoubleHbone,
  ForwardHbone,
  ForwardPlain,
  OutboundDecision,
  PlainConnection,
} from '../port.ts';
import { isHangup } from '../system-error.ts';
import type { Connection } from './connection.ts';
import type { HboneDial } from './hbone-dial.ts';
import { join } from './join.ts';
import { joinLocally, type LocalJoinDeps } from './local-join.ts';
import { TcpSocket } from './tcp-socket.ts';

type Scope = OwnerScope<SessionPool<ClientHttp2Session>>;

export interface PlainDeps {
  readonly handlers: EngineHandlers;
  readonly dialer: Dialer;
  readonly hbone: HboneDial;
  readonly local: LocalJoinDeps;
}

/** Takes ownership of `socket`. Never rejects: what goes wrong is told by the connection's end. */
export async function servePlain(
  deps: PlainDeps,
  scope: Scope,
  {
    connection,
    socket,
    facts,
  }: { readonly connection: Connection; readonly socket: TcpSocket; readonly facts: PlainConnection },
): Promise<void> {
  socket.on('error', () => {});
  socket.once('close', () => connection.abort());
  connection.own(socket);
  connection.count(socket, 'reads');
  try {
    const decision = await decide(deps.handlers, facts, connection.signal);
    if (decision.action === 'refuse') {
      socket.destroy();
      connection.end('-', decision.reason);
      return;
    }
    connection.opened();
    if (decision.action === 'forward') await forwardPlain(deps, scope, { connection, socket, decision });
    else if (decision.action === 'local')
      finish(connection, await joinLocally(deps.local, decision, { connection, socket, facts }));
    else await forwardTunnel(deps, scope, { connection, socket, decision });
  } catch (error) {
    socket.destroy();
    const { flag, error: text } = toFailure(error);
    connection.end(flag, text);
  }
}

function decide(handlers: EngineHandlers, facts: PlainConnection, signal: AbortSignal): Promise<OutboundDecision> {
  return facts.kind === 'outbound'
    ? handlers.decideOutbound(facts, signal)
    : handlers.decideInboundPlain(facts, signal);
}

async function forwardPlain(
  { dialer }: PlainDeps,
  { netns }: Scope,
  {
    connection,
    socket,
    decision,
  }: { readonly connection: Connection; readonly socket: TcpSocket; readonly decision: ForwardPlain },
): Promise<void> {
  const upstream = new TcpSocket(await dialer.dial(netns, decision, connection.signal));
  connection.own(upstream);
  if (decision.preamble) upstream.write(decision.preamble);
  finish(connection, await join(socket, upstream));
}

async function forwardTunnel(
  { hbone }: PlainDeps,
  scope: Scope,
  {
    connection,
    socket,
    decision,
  }: {
    readonly connection: Connection;
    readonly socket: TcpSocket;
    readonly decision: ForwardHbone | ForwardDoubleHbone;
  },
): Promise<void> {
  const { signal } = connection;
  using tunnel =
    decision.action === 'hbone'
      ? await hbone.open(scope, decision, signal)
      : await hbone.openDouble(scope, decision, signal);
  connection.own(tunnel.stream);
  connection.established(tunnel.responseHeaders);
  const error = await join(socket, tunnel.stream);
  if (tunnel.isRevoked()) connection.end(REVOKED.flag, REVOKED.error, tunnel.responseHeaders);
  else finish(connection, error, tunnel.responseHeaders);
}

/** A reset after bytes flowed is an ending, anything else that broke a side is a failure. */
export function finish(
  connection: Connection,
  error: Error | undefined,
  responseHeaders?: Readonly<Record<string, string>>,
): void {
  if (error === undefined || isHangup(error)) connection.end('-', undefined, responseHeaders);
  else {
    const failure = toFailure(error);
    connection.end(failure.flag, failure.error, responseHeaders);
  }
}

/** Captured connections of one pod: accepts, asks, opens the next hop and hands both to a thread. */
import { closeFd, resetOnClose, setSocketOptions } from 'culvert-netns';
import { MeshError } from '../../core/errors.ts';
import type { ConnectionSet } from '../connection-set.ts';
import type { Dialer } from '../dialer.ts';
import { toFailure } from '../failure.ts';
import { acceptedOptions, openListener } from '../listener.ts';
import type { OwnerScope } from '../owner-scope.ts';
import type { EngineHandlers, EngineListener, EngineOptions, ListenerOptions, PlainConnection } from '../port.ts';
import type { EngineThreads, StreamEnded } from './engine-threads.ts';
import { NativeConnection } from './native-connection.ts';
import type { NativeSession } from './native-session.ts';
import { endConnection } from './stream-outcome.ts';
import type { HeldSocket, TunnelDial } from './tunnel-dial.ts';

export interface PlainServiceDeps {
  readonly handlers: EngineHandlers;
  readonly options: EngineOptions;
  readonly threads: EngineThreads;
  readonly dialer: Dialer;
  readonly tunnels: TunnelDial;
  readonly connections: ConnectionSet<NativeConnection>;
}

type Scope = OwnerScope<NativeSession>;

export function listenPlain(deps: PlainServiceDeps, scope: Scope, options: ListenerOptions): EngineListener {
  const { handlers, threads, connections } = deps;
  const kind = options.kind === 'outbound' ? 'outbound' : 'inbound-plaintext';
  const accepted = acceptedOptions(deps.options);
  const hasOptions = Object.keys(accepted).length > 0;
  return openListener(scope, options, ({ fd, remote: source, local, originalDestination = local }) => {
    if (hasOptions) setSocketOptions(fd, accepted);
    handlers.socketsOpen(kind, 1);
    const connection = new NativeConnection(threads.nextId(), scope.name, handlers);
    void connections
      .run(connection, () =>
        servePlain(deps, scope, {
          connection,
          socket: { fd },
          facts: { id: connection.id, owner: scope.name, kind, source, originalDestination },
        }),
      )
      .finally(() => handlers.socketsOpen(kind, -1));
  });
}

/** Never rejects: what goes wrong is told by the connection's end. */
async function servePlain(
  deps: PlainServiceDeps,
  scope: Scope,
  {
    connection,
    socket,
    facts,
  }: { readonly connection: NativeConnection; readonly socket: HeldSocket; readonly facts: PlainConnection },
): Promise<void> {
  const { handlers } = deps;
  try {
    const decision =
      facts.kind === 'outbound'
        ? await handlers.decideOutbound(facts, connection.signal)
        : await handlers.decideInboundPlain(facts, connection.signal);
    if (decision.action === 'refuse') {
      connection.end('-', { error: decision.reason });
      return;
    }
    if (connection.isCut) throw new MeshError('ERR_ABORTED', 'the connection was cut');
    connection.opened();
    const held = { connection, socket };
    switch (decision.action) {
      case 'forward':
        endConnection(connection, await forward(deps, scope, { ...held, decision }));
        return;
      case 'hbone':
        endConnection(connection, await deps.tunnels.carry(scope, decision, held));
        return;
      case 'double-hbone':
        endConnection(connection, await deps.tunnels.carryDouble(scope, decision, held));
    }
  } catch (error) {
    const { flag, error: text } = toFailure(error);
    connection.end(flag, { error: text });
  } finally {
    if (socket.fd >= 0) {
      if (connection.isCut) resetOnClose(socket.fd);
      closeFd(socket.fd);
    }
  }
}

async function forward(
  { dialer, threads }: PlainServiceDeps,
  { netns }: Scope,
  {
    connection,
    socket,
    decision,
  }: {
    readonly connection: NativeConnection;
    readonly socket: HeldSocket;
    readonly decision: Parameters<Dialer['dial']>[1] & { readonly preamble?: Uint8Array };
  },
): Promise<StreamEnded> {
  const upstream = await dialer.dial(netns, decision, connection.signal);
  const { fd } = socket;
  socket.fd = -1;
  const thread = threads.pickThread();
  const ending = threads.join(thread, connection.id, [fd, upstream], decision.preamble);
  connection.handOver(() => threads.cut(thread, connection.id));
  const end = await ending;
  if (end.kind === 'ended') return end;
  throw new MeshError('ERR_ABORTED', end.reason); // joins are not refused
}

/** Listens for captured connections of one pod and hands each to `servePlain`. */
import type { ClientHttp2Session } from 'node:http2';
import { setSocketOptions } from 'culvert-netns';
import type { SessionPool } from '../../hbone/index.ts';
import type { ConnectionSet } from '../connection-set.ts';
import { acceptedOptions, openListener } from '../listener.ts';
import type { OwnerScope } from '../owner-scope.ts';
import type { ConnectionId, EngineListener, EngineOptions, ListenerOptions } from '../port.ts';
import { Connection } from './connection.ts';
import { type PlainDeps, servePlain } from './plain-connection.ts';
import { TcpSocket } from './tcp-socket.ts';

export interface PlainListenerDeps extends PlainDeps {
  readonly options: EngineOptions;
  readonly connections: ConnectionSet<Connection>;
  readonly nextId: () => ConnectionId;
}

export function listenPlain(
  deps: PlainListenerDeps,
  scope: OwnerScope<SessionPool<ClientHttp2Session>>,
  options: ListenerOptions,
): EngineListener {
  const kind = options.kind === 'outbound' ? 'outbound' : 'inbound-plaintext';
  return openListener(scope, options, (accepted) => {
    const { remote: source, local, originalDestination = local } = accepted;
    setSocketOptions(accepted.fd, acceptedOptions(deps.options));
    const socket = new TcpSocket(accepted.fd);
    deps.handlers.socketsOpen(kind, 1);
    socket.once('close', () => deps.handlers.socketsOpen(kind, -1));
    const connection = new Connection(deps.nextId(), scope.name, deps.handlers);
    void deps.connections.run(connection, () =>
      servePlain(deps, scope, {
        connection,
        socket,
        facts: { id: connection.id, owner: scope.name, kind, source, originalDestination },
      }),
    );
  });
}

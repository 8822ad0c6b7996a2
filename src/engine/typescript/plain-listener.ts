/** Listens for captured connections of one pod and hands each to `servePlain`. */
import { type AcceptedSocket, listenTcp, type Netns, setSocketOptions, type TcpListener } from 'culvert-netns';
import { MeshError } from '../../core/errors.ts';
import type { EngineListener, EngineOptions, ListenerOptions } from '../port.ts';
import type { ConnectionSet } from './connection-set.ts';
import type { OwnerScope } from './owner-scope.ts';
import { type PlainDeps, servePlain } from './plain-connection.ts';
import { TcpSocket } from './tcp-socket.ts';

/** Room for a burst of new connections while the event loop is busy. */
const BACKLOG = 1_024;

export interface PlainListenerDeps extends PlainDeps {
  readonly options: EngineOptions;
  readonly connections: ConnectionSet;
}

export function listenPlain(deps: PlainListenerDeps, scope: OwnerScope, options: ListenerOptions): EngineListener {
  const kind = options.kind === 'outbound' ? 'outbound' : 'inbound-plaintext';
  const listener = openListener(scope.netns, options, (accepted) => {
    const { remote: source, local, originalDestination = local } = accepted;
    setSocketOptions(accepted.fd, acceptedOptions(deps.options));
    const socket = new TcpSocket(accepted.fd);
    deps.handlers.socketsOpen(kind, 1);
    socket.once('close', () => deps.handlers.socketsOpen(kind, -1));
    void deps.connections.run(scope.name, (connection) =>
      servePlain(deps, scope, {
        connection,
        socket,
        facts: { id: connection.id, owner: scope.name, kind, source, originalDestination },
      }),
    );
  });
  return toEngineListener(scope, listener);
}

/** Throws ERR_SYSTEM with the address and what the kernel said. */
export function openListener(
  netns: Netns | undefined,
  { ip, port, mark, reusePort, transparent }: ListenerOptions,
  onAccept: (accepted: AcceptedSocket) => void,
): TcpListener {
  try {
    return listenTcp(netns, { ip, port, mark, reusePort, transparent, backlog: BACKLOG }, onAccept);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MeshError('ERR_SYSTEM', `failed to bind to address ${ip}:${port}: ${reason}`, { cause });
  }
}

export function toEngineListener(scope: Pick<OwnerScope, 'listeners'>, listener: TcpListener): EngineListener {
  const close = async () => {
    listener[Symbol.dispose]();
    scope.listeners.delete(engineListener);
  };
  const engineListener: EngineListener = { port: listener.address.port, close, [Symbol.asyncDispose]: close };
  scope.listeners.add(engineListener);
  return engineListener;
}

/** Options of an accepted socket. */
export function acceptedOptions({ keepalive, userTimeout }: EngineOptions): Parameters<typeof setSocketOptions>[1] {
  if (!keepalive) return {};
  const userTimeoutMs = keepalive.timeMs + keepalive.intervalMs * keepalive.retries;
  return userTimeout ? { keepalive, userTimeoutMs } : { keepalive };
}

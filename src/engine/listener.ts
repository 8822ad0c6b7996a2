/** Opens an engine's listeners, and says what options their sockets have. */
import { type AcceptedSocket, listenTcp, type Netns, type setSocketOptions, type TcpListener } from 'culvert-netns';
import { MeshError } from '../core/errors.ts';
import type { EngineListener, EngineOptions, ListenerOptions } from './port.ts';

/** Room for a burst of new connections while the event loop is busy. */
export const ACCEPT_BACKLOG = 1_024;

/** What of an owner's scope a listener belongs to. */
export interface ListeningScope {
  readonly name: string;
  readonly netns: Netns | undefined;
  readonly listeners: Set<EngineListener>;
  readonly isLeaving: boolean;
}

/** Listens until it is closed; the scope knows it meanwhile. Throws ERR_SYSTEM with the address and what the kernel said. */
export function openListener(
  scope: ListeningScope,
  { ip, port, mark, reusePort, transparent }: ListenerOptions,
  onAccept: (accepted: AcceptedSocket) => void,
): EngineListener {
  let listener: TcpListener;
  try {
    listener = listenTcp(scope.netns, { ip, port, mark, reusePort, transparent, backlog: ACCEPT_BACKLOG }, onAccept);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MeshError('ERR_SYSTEM', `failed to bind to address ${ip}:${port}: ${reason}`, { cause });
  }
  const close = async (): Promise<void> => {
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

/** A listening socket whose connections are accepted by the engine's threads. */
import { closeFd, type ListenSocket, openListenSocket, setSocketOptions } from 'culvert-netns';
import { MeshError } from '../../core/errors.ts';
import { ACCEPT_BACKLOG, acceptedOptions } from '../listener.ts';
import type { OwnerScope } from '../owner-scope.ts';
import type { EngineListener, EngineOptions, ListenerOptions } from '../port.ts';
import { LISTENER_KIND } from './addon.ts';
import type { EngineThreads } from './engine-threads.ts';
import type { OwnerPool } from './owner-pool.ts';
import type { OnAccepted } from './thread-events.ts';

/** Listens until it is closed; the scope knows it meanwhile. Throws ERR_SYSTEM with the address and what the kernel said. */
export function openNativeListener(
  { threads, options }: { readonly threads: EngineThreads; readonly options: EngineOptions },
  { scope, listen }: { readonly scope: OwnerScope<OwnerPool>; readonly listen: ListenerOptions },
  onAccepted: OnAccepted,
): EngineListener {
  const { kind, ip, port, mark, reusePort, transparent } = listen;
  let socket: ListenSocket;
  try {
    socket = openListenSocket(scope.netns, { ip, port, mark, reusePort, transparent, backlog: ACCEPT_BACKLOG });
    // accepted sockets inherit them
    const inherited = kind === 'inbound-hbone' ? {} : acceptedOptions(options);
    if (Object.keys(inherited).length > 0) setSocketOptions(socket.fd, inherited);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MeshError('ERR_SYSTEM', `failed to bind to address ${ip}:${port}: ${reason}`, { cause });
  }
  const id = threads.listen(LISTENER_KIND[kind], scope.pool.handle, socket.fd, onAccepted);
  closeFd(socket.fd); // the threads have their own
  const close = async (): Promise<void> => {
    scope.listeners.delete(listener);
    await threads.closeListener(id);
  };
  const listener: EngineListener = { port: socket.address.port, close, [Symbol.asyncDispose]: close };
  scope.listeners.add(listener);
  return listener;
}

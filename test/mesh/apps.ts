/** Applications inside namespaces: they know nothing of the mesh and use unmarked sockets. */
import { Socket } from 'node:net';
import { connectTcp, type IpPort, listenTcp, type Netns } from 'culvert-netns';

export interface EchoServer extends Disposable {
  readonly port: number;
  /** Peers as the application saw them. */
  readonly peers: readonly string[];
  /** What connections began with. */
  readonly heads: readonly Buffer[];
}

/** Sends back every byte; ends when the client ends. */
export function serveEcho(netns: Netns, port = 8080): EchoServer {
  const peers: string[] = [];
  const heads: Buffer[] = [];
  const sockets = new Set<Socket>();
  const listeners = (['0.0.0.0', '::'] as const).map((ip) =>
    listenTcp(netns, { ip, port, ...(ip === '::' ? { ipv6Only: true } : {}) }, ({ fd, remote }) => {
      const socket = new Socket({ fd, allowHalfOpen: true });
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => {});
      peers.push(remote.ip);
      socket.once('data', (head: Buffer) => heads.push(head));
      socket.pipe(socket);
    }),
  );
  return {
    port,
    peers,
    heads,
    [Symbol.dispose]() {
      for (const listener of listeners) listener[Symbol.dispose]();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A connection as an application has it. The caller destroys it. */
export async function connectApp(netns: Netns, to: IpPort): Promise<Socket> {
  const socket = new Socket({ fd: await connectTcp(netns, { to, timeoutMs: 5_000 }), allowHalfOpen: true });
  socket.on('error', () => {});
  return socket;
}

/**
 * Sends, half-closes, and resolves with everything that came back, however the connection ended: a refusal may be a FIN or
 * a reset, as the application's bytes were read before or not. Rejects when the connection cannot be made.
 */
export async function call(netns: Netns, to: IpPort, data: string | Buffer): Promise<Buffer> {
  const socket = await connectApp(netns, to);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.end(data);
  const timer = setTimeout(() => socket.destroy(), 15_000);
  await closed;
  clearTimeout(timer);
  return Buffer.concat(chunks);
}

/** Sends and waits for as many bytes to come back; the connection stays open. Rejects when it ends before. */
export async function exchange(socket: Socket, data: string): Promise<string> {
  let got = '';
  const done = new Promise<string>((resolve, reject) => {
    const onData = (chunk: Buffer): void => {
      got += chunk.toString();
      if (got.length < data.length) return;
      socket.off('data', onData);
      socket.off('close', onClose);
      resolve(got);
    };
    const onClose = (): void => reject(new Error('connection closed'));
    socket.on('data', onData);
    socket.once('close', onClose);
    if (socket.destroyed) onClose();
  });
  socket.write(data);
  return done;
}

/** Polls until `condition` gives a value; rejects with `what` at the deadline. */
export async function eventually<T>(
  what: string,
  condition: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const deadlineMs = performance.now() + 30_000;
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > deadlineMs) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A port that leads wherever it is told to: a Service in front of replicas. */
import { connect, createServer, type Socket } from 'node:net';

export interface TcpForwarder extends AsyncDisposable {
  readonly port: number;
  /** New connections go there; open ones stay where they are. */
  lead(port: number): void;
  /** Connections taken so far. */
  taken(): number;
}

export async function openTcpForwarder(): Promise<TcpForwarder> {
  let target = 0;
  let taken = 0;
  const open = new Set<Socket>();
  const server = createServer((inside) => {
    taken += 1;
    const outside = connect(target, '127.0.0.1');
    for (const [socket, other] of [[inside, outside] as const, [outside, inside] as const]) {
      open.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        open.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    lead(port) {
      target = port;
    },
    taken: () => taken,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/**
 * A tunnel for tests, as a process of its own: listens in a pod's namespace where the real one does, tells every
 * connection what it knows of it, and then echoes. Told over stdin (a JSON line each) to connect as the tunnel does.
 * Ends with its stdin.
 */
import dgram from 'node:dgram';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { bindUdp, type ConnectTcpOptions, connectTcp, listenTcp, Netns } from 'culvert-netns';

const TCP = [
  ['::', 15_001],
  ['::', 15_006],
  ['::', 15_008],
  ['127.0.0.1', 15_053],
  ['::1', 15_053],
] as const;
const MARK = 0x539;

export type TunnelCommand = { readonly id: number; readonly connect: ConnectTcpOptions } | { readonly start: true };

const [path = ''] = process.argv.slice(2);
const netns = Netns.open(path);

function say(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

function start(): void {
  for (const [ip, port] of TCP) {
    listenTcp(netns, { ip, port, mark: MARK, reusePort: true, transparent: true }, (accepted) => {
      const { fd, remote, local, originalDestination } = accepted;
      const socket = new net.Socket({ fd, allowHalfOpen: true });
      socket.on('error', () => socket.destroy());
      socket.write(`${JSON.stringify({ port, remote, local, originalDestination })}\n`);
      socket.pipe(socket);
    });
  }
  for (const [ip, type] of [
    ['127.0.0.1', 'udp4'],
    ['::1', 'udp6'],
  ] as const) {
    const socket = dgram.createSocket(type);
    socket.bind({ fd: bindUdp(netns, { ip, port: 15_053, mark: MARK, reusePort: true }) });
    socket.on('message', (data, from) => socket.send(`tunnel:${data}`, from.port, from.address));
  }
  say({ started: true });
}

async function connect(id: number, options: ConnectTcpOptions): Promise<void> {
  try {
    const socket = new net.Socket({ fd: await connectTcp(netns, options), allowHalfOpen: true });
    socket.on('error', (error) => say({ id, error: error.message }));
    socket.once('data', (data) => {
      say({ id, reply: data.toString() });
      socket.destroy();
    });
    socket.write('hello\n');
  } catch (error) {
    say({ id, error: error instanceof Error && 'code' in error ? error.code : String(error) });
  }
}

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const command = JSON.parse(line) as TunnelCommand; // the test writes these
  if ('start' in command) start();
  else void connect(command.id, command.connect);
});
lines.on('close', () => process.exit(0));
say({ ready: true });

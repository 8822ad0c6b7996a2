/**
 * A pod and its node as two namespaces joined by a cable, both families. The node routes nothing else. Sockets are made
 * in them by this process; for capture by cgroup it is itself in the folder of the pods.
 */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import {
  bindUdp,
  closeFd,
  connectTcp,
  createNetns,
  listenTcp,
  type Netns,
  removeNetns,
  type TcpListener,
} from 'culvert-netns';
import type { CapturedPod, CaptureOptions } from '../../src/cni/redirect/port.ts';

const PREFIX = 'cvt-cap';
let count = 0;

export const NODE = { 4: '10.99.0.1', 6: 'fd99::1' } as const;
export const POD = { 4: '10.99.0.2', 6: 'fd99::2' } as const;
/** Another host behind the node. */
export const FAR = { 4: '10.98.0.7', 6: 'fd98::7' } as const;
export const PROBE = { 4: '169.254.7.127', 6: 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff' } as const;
const MAC = { node: '02:00:00:00:00:01', pod: '02:00:00:00:00:02' } as const;
export type Family = 4 | 6;

export const OPTIONS: CaptureOptions = { dnsCapture: true, ingressBypass: false, virtualInterfaces: [], ipv6: true };

export class PodLab implements AsyncDisposable {
  readonly uid = randomUUID();
  readonly #names = ['node', 'pod'].map((part) => `${PREFIX}-${process.pid}-${count}-${part}`);
  readonly node: Netns;
  readonly netns: Netns;
  readonly #closers: (() => void)[] = [];

  constructor() {
    count++;
    const [node = '', pod = ''] = this.#names;
    this.node = createNetns(`/run/netns/${node}`);
    this.netns = createNetns(`/run/netns/${pod}`);
    const link = `link add eth0 address ${MAC.pod} netns ${pod} type veth peer name pod0 address ${MAC.node} netns ${node}`;
    ip(...link.split(' '));
    for (const [name, device, addresses] of [
      [pod, 'eth0', [`${POD[4]}/24`, `${POD[6]}/64`]],
      [node, 'pod0', [`${NODE[4]}/24`, `${NODE[6]}/64`]],
      [node, 'lo', [`${FAR[4]}/32`, `${FAR[6]}/128`, `${PROBE[4]}/32`, `${PROBE[6]}/128`]],
    ] as const) {
      for (const address of addresses) ip('-n', name, 'addr', 'add', address, 'dev', device, ...nodad(address));
      ip('-n', name, 'link', 'set', device, 'up');
    }
    // Neighbours are given: a solicitation sent while a cable comes up is lost, and repeated after a second.
    for (const family of [4, 6] as const) {
      ip('-n', pod, 'neigh', 'replace', NODE[family], 'lladdr', MAC.node, 'dev', 'eth0', 'nud', 'permanent');
      ip('-n', node, 'neigh', 'replace', POD[family], 'lladdr', MAC.pod, 'dev', 'pod0', 'nud', 'permanent');
    }
    ip('-n', pod, 'route', 'add', 'default', 'via', NODE[4]);
    ip('-n', pod, '-6', 'route', 'add', 'default', 'via', NODE[6]);
  }

  get podPath(): string {
    return `/run/netns/${this.#names[1]}`;
  }

  pod(options: Partial<CaptureOptions> = {}): CapturedPod {
    return { uid: this.uid, netns: this.netns, ips: [POD[4], POD[6]], options: { ...OPTIONS, ...options } };
  }

  /** A server that says `app <client's ip>` and echoes. */
  serve(where: Netns, port: number, ip = '::'): void {
    const listener: TcpListener = listenTcp(where, { ip, port }, ({ fd, remote }) => {
      const socket = new net.Socket({ fd, allowHalfOpen: true });
      socket.on('error', () => socket.destroy());
      socket.write(`app ${remote.ip}\n`);
      socket.pipe(socket);
      this.#closers.push(() => socket.destroy());
    });
    this.#closers.push(() => listener[Symbol.dispose]());
  }

  /** Answers every datagram with `app:` and the datagram. */
  serveUdp(where: Netns, ip: string, port: number): void {
    const socket = udpSocket(where, ip, port);
    socket.on('message', (data, from) => socket.send(`app:${data}`, from.port, from.address));
    this.#closers.push(() => socket.close());
  }

  track(socket: net.Socket): net.Socket {
    this.#closers.push(() => socket.destroy());
    return socket;
  }

  exec(...argv: string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.#names[1] ?? '', ...argv], { encoding: 'utf8', stdio: 'pipe' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const close of this.#closers.reverse()) close();
    for (const name of this.#names) removeNetns(`/run/netns/${name}`);
    this.node[Symbol.dispose]();
    this.netns[Symbol.dispose]();
  }
}

/** Opens a connection and returns it with its first line, which the server says at once. */
export async function open(
  netns: Netns,
  to: string,
  port: number,
  fromIp?: string,
): Promise<{ readonly socket: net.Socket; readonly line: string }> {
  const from = fromIp === undefined ? {} : { fromIp };
  const fd = await connectTcp(netns, { to: { ip: to, port }, timeoutMs: 3_000, ...from });
  const socket = new net.Socket({ fd, allowHalfOpen: true });
  socket.on('error', () => socket.destroy());
  return { socket, line: await nextText(socket) };
}

/** First line of a new connection; `refused` or another errno name in lower case when there is none. */
export async function firstLine(netns: Netns, to: string, port: number, fromIp?: string): Promise<string> {
  try {
    const { socket, line } = await open(netns, to, port, fromIp);
    socket.destroy();
    return line.trim();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    return code === 'ECONNREFUSED' ? 'refused' : code.toLowerCase();
  }
}

/** What the test tunnel said of a connection; fails when it was not the tunnel that answered. */
export function seenByTunnel(line: string): { port: number; original: string; local: string; remote: string } {
  const { port, originalDestination, local, remote } = JSON.parse(line);
  const text = (at: { ip: string; port: number } | undefined): string => (at ? `${at.ip} ${at.port}` : '');
  return { port, original: text(originalDestination ?? local), local: text(local), remote: remote.ip };
}

/** Sends a text over an open connection and returns what comes back. */
export async function echo(socket: net.Socket, text: string): Promise<string> {
  const answer = nextText(socket);
  socket.write(text);
  return answer;
}

/** One question by UDP: the answer and who it seems to come from; `silence` after a second, `refused` by ICMP. */
export async function ask(
  netns: Netns,
  to: string,
  port: number,
  options: { connected?: boolean } = {},
): Promise<string> {
  const socket = udpSocket(netns, to.includes(':') ? '::' : '0.0.0.0', 0);
  try {
    const answer = once(socket, 'message', { signal: AbortSignal.timeout(1_000) });
    answer.catch(() => {});
    if (options.connected) {
      socket.connect(port, to);
      await once(socket, 'connect');
      socket.send('question');
    } else {
      socket.send('question', port, to);
    }
    const [data, from] = await answer;
    return `${data} from ${from.address} ${from.port}`;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED' ? 'refused' : 'silence';
  } finally {
    socket.close();
  }
}

/** Removes the namespaces of test processes that are gone. */
export function removeLeftLabs(): void {
  for (const name of readdirSync('/run/netns')) {
    const pid = new RegExp(`^${PREFIX}-(\\d+)-`).exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) removeNetns(`/run/netns/${name}`);
  }
}

function udpSocket(netns: Netns, ip: string, port: number): dgram.Socket {
  const socket = dgram.createSocket(ip.includes(':') ? 'udp6' : 'udp4');
  const fd = bindUdp(netns, { ip, port });
  try {
    socket.bind({ fd });
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  return socket;
}

async function nextText(socket: net.Socket): Promise<string> {
  const [data] = await once(socket, 'data', { signal: AbortSignal.timeout(3_000) });
  return String(data);
}

function nodad(address: string): string[] {
  return address.includes(':') ? ['nodad'] : [];
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

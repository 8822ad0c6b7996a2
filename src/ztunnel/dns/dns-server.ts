/**
 * UDP and TCP sockets of one pod's DNS proxy.
 *
 * Guarantees: at most `HANDLED_MAX` queries and `TCP_CONNECTIONS_MAX` connections are worked on at a time, a TCP client
 * that says nothing for 5 s is closed, draining answers what was asked before, and disposing gives up everything at once.
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { Socket } from 'node:net';
import { bindUdp, type ListenTcpOptions, leaveUdpGroup, listenTcp, type Netns, type TcpListener } from 'culvert-netns';
import { ipFamily } from '../../model/ip.ts';
import { TcpMessages } from './tcp-messages.ts';

export type DnsHandler = (message: Buffer, transport: 'udp' | 'tcp') => Promise<Buffer | undefined>;

export interface DnsServerOptions {
  readonly netns: Netns | undefined;
  readonly ips: readonly string[];
  readonly port: number;
  readonly mark: number | undefined;
  readonly reusePort: boolean;
}

const TCP_IDLE_MS = 5_000;
const TCP_CONNECTIONS_MAX = 100;
const HANDLED_MAX = 2_000;

/** Disposing closes everything at once. */
export interface DrainableDns extends Disposable {
  /** New queries go to another tunnel that listens there, if there is one; resolves when those of before are answered. */
  drain(deadlineMs: number): Promise<void>;
}

/** Throws when a socket cannot be made, leaving none behind. */
export function serveDns(options: DnsServerOptions, handler: DnsHandler): DrainableDns {
  const server = new DnsServer(handler);
  try {
    for (const ip of options.ips) server.listen(ip, options);
  } catch (error) {
    server[Symbol.dispose]();
    throw error;
  }
  return server;
}

class DnsServer implements DrainableDns {
  readonly #handler: DnsHandler;
  readonly #udp: { readonly socket: UdpSocket; readonly fd: number }[] = [];
  readonly #tcp: TcpListener[] = [];
  readonly #connections = new Set<Socket>();
  #handled = 0;
  #isDraining = false;
  #idle = Promise.withResolvers<void>();

  constructor(handler: DnsHandler) {
    this.#handler = handler;
  }

  listen(ip: string, { netns, port, mark, reusePort }: DnsServerOptions): void {
    const common = { ip, port, reusePort, ...(mark === undefined ? {} : { mark }) };
    const tcp: ListenTcpOptions = ipFamily(ip) === 6 ? { ...common, ipv6Only: true } : common;
    this.#tcp.push(listenTcp(netns, tcp, ({ fd }) => this.#accept(new Socket({ fd, allowHalfOpen: true }))));
    const fd = bindUdp(netns, ipFamily(ip) === 6 ? { ...common, ipv6Only: true } : common);
    const socket = createSocket(ipFamily(ip) === 6 ? 'udp6' : 'udp4');
    this.#udp.push({ socket, fd });
    socket.on('error', () => {}); // an unreachable client is reported here and concerns nobody else
    socket.on('message', (message, client) => {
      this.#handle(message, 'udp', (answer) => socket.send(answer, client.port, client.address));
    });
    socket.bind({ fd });
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#isDraining = true;
    for (const listener of this.#tcp.splice(0)) listener[Symbol.dispose]();
    for (const connection of this.#connections) connection.pause();
    for (const { fd } of this.#udp) leaveUdpGroup(fd);
    // two turns: what the kernel has queued is read in the next one
    for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate);
    const timer = setTimeout(() => this.#idle.resolve(), deadlineMs);
    if (this.#handled > 0) await this.#idle.promise;
    clearTimeout(timer);
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    for (const listener of this.#tcp.splice(0)) listener[Symbol.dispose]();
    for (const { socket } of this.#udp.splice(0)) socket.close();
    for (const connection of this.#connections) connection.destroySoon();
  }

  #accept(connection: Socket): void {
    connection.on('error', () => {});
    if (this.#connections.size >= TCP_CONNECTIONS_MAX) {
      connection.destroy();
      return;
    }
    this.#connections.add(connection);
    connection.on('close', () => this.#connections.delete(connection));
    connection.setTimeout(TCP_IDLE_MS, () => connection.destroy());
    connection.on('end', () => connection.end());
    const messages = new TcpMessages();
    connection.on('data', (chunk: Buffer) => {
      for (const message of messages.push(chunk)) {
        this.#handle(message, 'tcp', (answer) => {
          const hasRoom = connection.write(TcpMessages.frame(answer));
          if (hasRoom) return;
          connection.pause(); // the client does not read: no more of its queries until it does
          connection.once('drain', () => this.#isDraining || connection.resume());
        });
      }
    });
  }

  #handle(message: Buffer, transport: 'udp' | 'tcp', reply: (answer: Buffer) => void): void {
    if (this.#handled >= HANDLED_MAX) return; // the client asks again
    this.#handled += 1;
    this.#handler(message, transport)
      .then((answer) => answer && reply(answer))
      .catch(() => {}) // the socket was closed meanwhile
      .finally(() => {
        this.#handled -= 1;
        if (this.#handled === 0 && this.#isDraining) this.#idle.resolve();
      });
  }
}

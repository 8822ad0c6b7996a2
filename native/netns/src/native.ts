/**
 * The add-on's functions as TypeScript sees them. Every number result that is negative is an error in the encoding of
 * `errors.ts`. Only this file loads the binary; arguments are checked by the callers, not here.
 */
import { createRequire } from 'node:module';
import { NetnsError } from './errors.ts';

/** Opaque: an external object that only the add-on can read. */
export interface PollHandle {
  readonly pollHandle: unique symbol;
}

/** What `openSocket` reads; absent means off. */
export interface SocketRequest {
  readonly datagram?: boolean;
  readonly localIp?: string | undefined;
  readonly localPort?: number;
  readonly remoteIp?: string;
  readonly remotePort?: number;
  readonly backlog?: number;
  readonly mark?: number | undefined;
  readonly reusePort?: boolean;
  readonly transparent?: boolean;
  readonly ipv6Only?: boolean;
  readonly noDelay?: boolean;
  readonly keepalive?: boolean;
  readonly keepaliveTimeS?: number;
  readonly keepaliveIntervalS?: number;
  readonly keepaliveRetries?: number;
  readonly userTimeoutMs?: number | undefined;
  readonly congestion?: string | undefined;
}

/** What `changeRoute` reads. */
export interface RouteChange {
  readonly add: boolean;
  readonly rule: boolean;
  readonly family: 4 | 6;
  readonly table: number;
  readonly fwmark?: number;
  readonly mask?: number;
  readonly priority?: number;
}

export type AcceptedParts =
  | readonly [fd: number, remoteIp: string, remotePort: number, localIp: string, localPort: number]
  | readonly [
      fd: number,
      remoteIp: string,
      remotePort: number,
      localIp: string,
      localPort: number,
      originalIp: string,
      originalPort: number,
    ];

export type TcpSocketParts = readonly [
  state: number,
  localIp: string,
  localPort: number,
  remoteIp: string,
  remotePort: number,
  mark: number,
  id: Uint8Array,
];

export interface Native {
  isNetns(fd: number): boolean;
  openPath(path: string): number;
  duplicateFd(fd: number): number;
  netnsCookie(netnsFd: number): bigint | number;
  createNetns(path: string): number;
  removeNetns(path: string): number;
  openSocket(netnsFd: number, request: SocketRequest): number;
  acceptTcp(fd: number): AcceptedParts | number;
  socketName(fd: number, peer: boolean): readonly [ip: string, port: number] | number;
  setOption(fd: number, level: number, name: number, value: number): number;
  socketError(fd: number): number;
  resetOnClose(fd: number): number;
  leaveGroup(fd: number): number;
  cookie(fd: number, ofNetns: boolean): bigint | number;
  tcpInfo(fd: number): readonly [number, number, number, bigint, bigint] | number;
  closeFd(fd: number): number;
  pollOpen(fd: number, onReady: (events: number) => void): PollHandle | number;
  pollSet(handle: PollHandle, events: number): number;
  pollClose(handle: PollHandle): void;
  seqpacketConnect(path: string): number;
  seqpacketListen(path: string, mode: number, backlog: number): number;
  seqpacketAccept(fd: number): number;
  peerCredentials(fd: number): readonly [pid: number, uid: number, gid: number] | number;
  seqpacketSend(fd: number, data: Uint8Array, passFd: number): number;
  seqpacketReceive(
    fd: number,
    into: Uint8Array,
  ): readonly [bytes: number, fd: number, count: number, truncated: number] | number;
  changeRoute(netnsFd: number, change: RouteChange): number;
  localAddresses(netnsFd: number): readonly string[] | number;
  tcpSockets(netnsFd: number): readonly TcpSocketParts[] | number;
  destroyTcpSocket(netnsFd: number, id: Uint8Array): number;
  sysctl(netnsFd: number, path: string, value: string | null): string | number;
}

function load(): Native {
  try {
    return createRequire(import.meta.url)('../build/netns.node') as Native;
  } catch (cause) {
    throw new NetnsError('ENOENT', 'the native add-on culvert-netns is not built; run: npm run build:native', {
      cause,
    });
  }
}

export const native: Native = load();

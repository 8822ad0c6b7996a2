/** Options and counters of an open socket, by its descriptor. Source: socket(7), tcp(7). */
import { checkInteger, type IpPort, U32_MAX } from './address.ts';
import { checked, checkedValue } from './errors.ts';
import { native } from './native.ts';

/** Numbers of asm-generic/socket.h and linux/tcp.h, equal on x86-64 and arm64. */
const SOL_SOCKET = 1;
const SO_KEEPALIVE = 9;
const SO_MARK = 36;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_USER_TIMEOUT = 18;

/** Keepalive probes: first after `timeMs` of silence, then every `intervalMs`, dead after `retries` without answer. */
export interface Keepalive {
  readonly timeMs: number;
  readonly intervalMs: number;
  readonly retries: number;
}

export interface SocketOptions {
  readonly keepalive?: Keepalive | undefined;
  /** TCP_USER_TIMEOUT: unacknowledged data ends the connection after this long. */
  readonly userTimeoutMs?: number | undefined;
  readonly noDelay?: boolean | undefined;
  readonly mark?: number | undefined;
}

/** The kernel counts keepalive in whole seconds, at least one. */
export function keepaliveSeconds(keepalive: Keepalive): {
  keepaliveTimeS: number;
  keepaliveIntervalS: number;
  keepaliveRetries: number;
} {
  const seconds = (name: string, ms: number) => checkInteger(name, Math.max(1, Math.round(ms / 1000)), 1, 32_767);
  return {
    keepaliveTimeS: seconds('keepalive time in seconds', keepalive.timeMs),
    keepaliveIntervalS: seconds('keepalive interval in seconds', keepalive.intervalMs),
    keepaliveRetries: checkInteger('keepalive retries', keepalive.retries, 1, 127),
  };
}

/** Sets what is given and leaves the rest. Throws NetnsError. */
export function setSocketOptions(fd: number, options: SocketOptions): void {
  const set = (level: number, name: number, value: number) =>
    checked(native.setOption(fd, level, name, value), `set option ${name} of a socket`);
  const { keepalive, userTimeoutMs, noDelay, mark } = options;
  if (mark !== undefined) set(SOL_SOCKET, SO_MARK, checkInteger('mark', mark, 0, U32_MAX));
  if (noDelay !== undefined) set(IPPROTO_TCP, TCP_NODELAY, noDelay ? 1 : 0);
  if (userTimeoutMs !== undefined)
    set(IPPROTO_TCP, TCP_USER_TIMEOUT, checkInteger('userTimeoutMs', userTimeoutMs, 0, 0x7fff_ffff));
  if (keepalive === undefined) return;
  const { keepaliveTimeS, keepaliveIntervalS, keepaliveRetries } = keepaliveSeconds(keepalive);
  set(IPPROTO_TCP, TCP_KEEPIDLE, keepaliveTimeS);
  set(IPPROTO_TCP, TCP_KEEPINTVL, keepaliveIntervalS);
  set(IPPROTO_TCP, TCP_KEEPCNT, keepaliveRetries);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
}

/** What the kernel knows of a connection (TCP_INFO). */
export interface TcpInfo {
  /** Bytes the peer has acknowledged; SYN and FIN count as one each. */
  readonly bytesAcked: bigint;
  /** Bytes that arrived in order; a FIN counts as one. */
  readonly bytesReceived: bigint;
  readonly rttUs: number;
  /** Segments sent again, over the whole life. */
  readonly retransmits: number;
  /** TCP_ESTABLISHED is 1, TCP_CLOSE 7, TCP_CLOSE_WAIT 8 (linux/tcp_states.h). */
  readonly state: number;
}

export function tcpInfo(fd: number): TcpInfo {
  const [state, retransmits, rttUs, bytesAcked, bytesReceived] = checkedValue(native.tcpInfo(fd), 'read TCP_INFO');
  return { state, retransmits, rttUs, bytesAcked, bytesReceived };
}

/** SO_LINGER 0: closing the last descriptor sends RST and throws unsent data away. */
export function resetOnClose(fd: number): void {
  checked(native.resetOnClose(fd), 'set SO_LINGER');
}

/** SO_COOKIE: unique for the life of the machine, the key eBPF programs know a socket by. */
export function socketCookie(fd: number): bigint {
  return checkedValue(native.cookie(fd, false), 'read SO_COOKIE');
}

/** SO_NETNS_COOKIE of the namespace the socket belongs to. */
export function socketNetnsCookie(fd: number): bigint {
  return checkedValue(native.cookie(fd, true), 'read SO_NETNS_COOKIE');
}

/** The local address of a socket. */
export function localAddress(fd: number): IpPort {
  const [ip, port] = checkedValue(native.socketName(fd, false), 'read the local address');
  return { ip, port };
}

/** The peer's address; ENOTCONN without one. */
export function remoteAddress(fd: number): IpPort {
  const [ip, port] = checkedValue(native.socketName(fd, true), 'read the peer address');
  return { ip, port };
}

/** Closes a descriptor that the caller owns. Throws EBADF when it is not open: a double close is a bug. */
export function closeFd(fd: number): void {
  checked(native.closeFd(fd), `close descriptor ${fd}`);
}

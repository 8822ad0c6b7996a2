/**
 * TCP listeners inside a namespace.
 *
 * Invariants
 *  - A turn of the event loop accepts at most 64 connections per listener, so that others get their turn.
 *  - Out of descriptors or memory, accepting pauses for a moment and is counted; it never spins.
 *  - After dispose no connection is handed over any more.
 * Source: accept4(2), ip(7) IP_TRANSPARENT, tcp(7).
 */
import { checkInteger, checkIpPort, type IpPort, ipPortText, U32_MAX } from './address.ts';
import { checked, checkedValue, errnoOf } from './errors.ts';
import { type AcceptedParts, native, type PollHandle } from './native.ts';
import { type Netns, netnsFd } from './netns.ts';
import { openPoll } from './readiness.ts';

const READABLE = 1;
const ACCEPTS_PER_TURN_MAX = 64;
/** Long enough for others to free descriptors, short against a client's SYN timeout. */
const PAUSE_MS = 50;
/** The backlog that the mesh's listeners are given elsewhere. */
const DEFAULT_BACKLOG = 128;

/** One connection. The receiver owns `fd`. */
export interface AcceptedSocket {
  /** Non-blocking, CLOEXEC, TCP_NODELAY. */
  readonly fd: number;
  readonly remote: IpPort;
  readonly local: IpPort;
  /** SO_ORIGINAL_DST, IPv4 first and then IPv6; undefined when the kernel has none. */
  readonly originalDestination: IpPort | undefined;
}

export interface TcpListener extends Disposable {
  /** Where it listens, with the real port when 0 was asked for. */
  readonly address: IpPort;
  /** Owned by the listener. */
  readonly fd: number;
  /** How often accepting was paused because descriptors or memory had run out. */
  readonly pauses: number;
}

export interface ListenTcpOptions {
  readonly ip: string;
  readonly port: number;
  /** Length of the queue of connections not accepted yet; 128 when absent. */
  readonly backlog?: number | undefined;
  /** SO_MARK, inherited by accepted sockets. */
  readonly mark?: number | undefined;
  readonly reusePort?: boolean | undefined;
  /** IP_TRANSPARENT or IPV6_TRANSPARENT, with FREEBIND; EPERM without CAP_NET_ADMIN. */
  readonly transparent?: boolean | undefined;
  /** An IPv6 listener takes IPv4 too unless this is true. */
  readonly ipv6Only?: boolean | undefined;
  /** TCP_CONGESTION, inherited by accepted sockets. */
  readonly congestion?: string | undefined;
}

/** A listening descriptor that the caller owns, and its address with the real port. Nothing is accepted from it here. */
export interface ListenSocket {
  readonly fd: number;
  readonly address: IpPort;
}

/** Listens inside `netns` (undefined: the namespace of this process). Throws NetnsError with the errno name in `code`. */
export function openListenSocket(netns: Netns | undefined, options: ListenTcpOptions): ListenSocket {
  checkIpPort(options.ip, options.port);
  const backlog = checkInteger('backlog', options.backlog ?? DEFAULT_BACKLOG, 1, 65_535);
  if (options.mark !== undefined) checkInteger('mark', options.mark, 0, U32_MAX);
  const what = `listen on ${ipPortText(options)}`;
  const fd = checked(
    native.openSocket(netnsFd(netns), {
      localIp: options.ip,
      localPort: options.port,
      backlog,
      mark: options.mark,
      reusePort: options.reusePort === true,
      transparent: options.transparent === true,
      ipv6Only: options.ipv6Only === true,
      noDelay: true,
      congestion: options.congestion,
    }),
    what,
  );
  try {
    const [ip, port] = checkedValue(native.socketName(fd, false), 'read the address of a listener');
    return { fd, address: { ip, port } };
  } catch (error) {
    native.closeFd(fd);
    throw error;
  }
}

/**
 * Listens as `openListenSocket`; accepting begins in the next turn. The listener keeps the process alive until it is
 * disposed. `netns` may be closed after the call.
 */
export function listenTcp(
  netns: Netns | undefined,
  options: ListenTcpOptions,
  onAccept: (socket: AcceptedSocket) => void,
): TcpListener {
  const { fd, address } = openListenSocket(netns, options);
  try {
    return new Listener(fd, address, onAccept);
  } catch (error) {
    native.closeFd(fd);
    throw error;
  }
}

class Listener implements TcpListener {
  readonly fd: number;
  readonly address: IpPort;
  readonly #onAccept: (socket: AcceptedSocket) => void;
  readonly #poll: PollHandle;
  #pauses = 0;
  #resume: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(fd: number, address: IpPort, onAccept: (socket: AcceptedSocket) => void) {
    this.fd = fd;
    this.address = address;
    this.#onAccept = onAccept;
    this.#poll = openPoll(fd, (events) => this.#onReady(events));
    this.#watch();
  }

  get pauses(): number {
    return this.#pauses;
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#resume);
    native.pollClose(this.#poll);
    native.closeFd(this.fd);
  }

  #watch(): void {
    if (!this.#closed) checked(native.pollSet(this.#poll, READABLE), 'watch a listener');
  }

  /** A negative `events` means that libuv has stopped watching; what is queued is taken, then watching starts anew. */
  #onReady(events: number): void {
    let stalled = events < 0;
    for (let accepted = 0; accepted < ACCEPTS_PER_TURN_MAX && !this.#closed; accepted++) {
      const parts = native.acceptTcp(this.fd);
      if (typeof parts !== 'number') {
        this.#onAccept(toAcceptedSocket(parts));
        continue;
      }
      stalled ||= errnoOf(parts) !== 'EAGAIN';
      break;
    }
    if (stalled && !this.#closed) this.#pause();
  }

  #pause(): void {
    this.#pauses++;
    native.pollSet(this.#poll, 0);
    this.#resume = setTimeout(() => this.#watch(), PAUSE_MS);
  }
}

function toAcceptedSocket(parts: AcceptedParts): AcceptedSocket {
  const [fd, remoteIp, remotePort, localIp, localPort] = parts;
  return {
    fd,
    remote: { ip: remoteIp, port: remotePort },
    local: { ip: localIp, port: localPort },
    originalDestination: parts.length === 7 ? { ip: parts[5], port: parts[6] } : undefined,
  };
}

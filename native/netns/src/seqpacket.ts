/**
 * One end of a unix SOCK_SEQPACKET connection: messages of at most 1024 bytes, each with one descriptor at most.
 *
 * Invariants
 *  - A message that is cut off, or that carries more than one descriptor, is an error, and every descriptor that came
 *    with it is closed.
 *  - Messages leave in the order of send(); at most 64 wait.
 *  - Giving up a receive consumes nothing: the next receive gets the message.
 * Source: unix(7), recvmsg(2).
 */
import { canceled, checked, checkedValue, errnoOf, NetnsError, toNetnsError } from './errors.ts';
import { native } from './native.ts';
import { Readiness } from './readiness.ts';

/** Most bytes in a message, in both directions. */
export const SEQPACKET_BYTES_MAX = 1024;
const SENDS_WAITING_MAX = 64;
/** A full backlog is waited for this long: the server is there but slow. */
const CONNECT_TIMEOUT_MS = 5_000;
const CONNECT_RETRY_MS = 20;

export interface SeqpacketMessage {
  readonly data: Buffer;
  /** None or one; owned by the receiver, CLOEXEC. */
  readonly fds: readonly number[];
}

/** SO_PEERCRED: who was at the other end when the connection was made. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export class SeqpacketSocket implements AsyncDisposable {
  readonly peer: PeerCredentials;
  readonly #fd: number;
  readonly #readiness: Readiness;
  readonly #received = Buffer.allocUnsafe(SEQPACKET_BYTES_MAX);
  #lastSend: Promise<void> = Promise.resolve();
  #sendsWaiting = 0;
  #receiving = false;
  #closed = false;

  /** Takes ownership of a connected descriptor, also when it throws. */
  constructor(fd: number) {
    try {
      const [pid, uid, gid] = checkedValue(native.peerCredentials(fd), 'read the credentials of a peer');
      this.peer = { pid, uid, gid };
      this.#readiness = new Readiness(fd);
      this.#fd = fd;
    } catch (error) {
      native.closeFd(fd);
      throw error;
    }
  }

  /** ENOENT or ECONNREFUSED when nobody listens there, ETIMEDOUT when the server's queue stays full for 5 s. */
  static async connect(path: string): Promise<SeqpacketSocket> {
    const deadline = Date.now() + CONNECT_TIMEOUT_MS;
    for (;;) {
      const fd = native.seqpacketConnect(path);
      if (fd >= 0) return new SeqpacketSocket(fd);
      if (errnoOf(fd) !== 'EAGAIN') throw toNetnsError(fd, `connect to ${path}`);
      if (Date.now() >= deadline) throw new NetnsError('ETIMEDOUT', `connect to ${path}: its queue is full`);
      await new Promise((resolve) => setTimeout(resolve, CONNECT_RETRY_MS));
    }
  }

  /**
   * Sends one message, with a copy of descriptor `fd` when given; the caller keeps its own. Rejects with EMSGSIZE above
   * 1024 bytes, EINVAL for an empty message (it would read as the end), ENOBUFS when 64 sends wait, EPIPE when the peer
   * is gone, ECANCELED after dispose or abort.
   */
  async send(data: Uint8Array, fd?: number, signal?: AbortSignal): Promise<void> {
    if (data.byteLength === 0) throw new NetnsError('EINVAL', 'an empty message cannot be sent');
    if (data.byteLength > SEQPACKET_BYTES_MAX)
      throw new NetnsError('EMSGSIZE', `a message of ${data.byteLength} bytes, ${SEQPACKET_BYTES_MAX} at most`);
    if (this.#sendsWaiting >= SENDS_WAITING_MAX)
      throw new NetnsError('ENOBUFS', `${SENDS_WAITING_MAX} messages wait already`);
    this.#sendsWaiting++;
    const turn = this.#lastSend.then(() => this.#sendNow(data, fd ?? -1, signal));
    this.#lastSend = turn.catch(() => undefined);
    try {
      await turn;
    } finally {
      this.#sendsWaiting--;
    }
  }

  /**
   * The next message, undefined when the peer has closed. One receive at a time (EBUSY). Rejects with EMSGSIZE for a
   * message over 1024 bytes, EPROTO for more than one descriptor, ECONNRESET when the peer died with unread messages,
   * ECANCELED after dispose or abort.
   */
  async receive(signal?: AbortSignal): Promise<SeqpacketMessage | undefined> {
    if (this.#receiving) throw new NetnsError('EBUSY', 'a receive is under way already');
    this.#receiving = true;
    try {
      for (;;) {
        if (this.#closed || signal?.aborted) throw canceled('receive a message', signal);
        const result = native.seqpacketReceive(this.#fd, this.#received);
        if (typeof result !== 'number') return this.#toMessage(result);
        if (errnoOf(result) !== 'EAGAIN') throw toNetnsError(result, 'receive a message');
        await this.#readiness.readable(signal);
      }
    } finally {
      this.#receiving = false;
    }
  }

  /** Idempotent; what waits is rejected with ECANCELED. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#readiness[Symbol.dispose]();
    native.closeFd(this.#fd);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  async #sendNow(data: Uint8Array, fd: number, signal?: AbortSignal): Promise<void> {
    for (;;) {
      if (this.#closed || signal?.aborted) throw canceled('send a message', signal);
      const result = native.seqpacketSend(this.#fd, data, fd);
      if (result >= 0) return;
      if (errnoOf(result) !== 'EAGAIN') checked(result, 'send a message');
      await this.#readiness.writable(signal);
    }
  }

  #toMessage([bytes, fd, count, truncated]: readonly [number, number, number, number]): SeqpacketMessage | undefined {
    if (truncated !== 0) throw new NetnsError('EMSGSIZE', `a message over ${SEQPACKET_BYTES_MAX} bytes was cut off`);
    if (count > 1) throw new NetnsError('EPROTO', `${count} descriptors in one message, all closed; 1 at most`);
    if (bytes === 0 && count > 0) throw new NetnsError('EPROTO', 'a descriptor without a message, closed');
    if (bytes === 0) return undefined;
    return { data: Buffer.from(this.#received.subarray(0, bytes)), fds: fd >= 0 ? [fd] : [] };
  }
}

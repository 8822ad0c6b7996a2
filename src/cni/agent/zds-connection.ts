/**
 * One tunnel's connection: requests in order, one outstanding, each ended by its acknowledgement.
 *
 * Invariants
 *  - A byte that answers nothing is a violation and ends the connection, and so does silence of 5 s after a request.
 *  - After the end every request is rejected with ERR_ZDS at once.
 */
import { closeFd, type Netns, type SeqpacketSocket } from 'culvert-netns';
import type { Clock } from '../../core/clock.ts';
import { errorMessage, MeshError } from '../../core/errors.ts';
import { checkHello, decodeAck, encodeRequest, type ZdsRequest } from './zds-codec.ts';

/** For the hello, and for every acknowledgement. */
const ANSWER_TIMEOUT_MS = 5_000;
const REQUESTS_WAITING_MAX = 4_096;

export class ZdsConnection {
  readonly pid: number;
  /** Resolves with the reason when the connection has ended. */
  readonly ended: Promise<string>;
  readonly #socket: SeqpacketSocket;
  readonly #clock: Clock;
  readonly #end = Promise.withResolvers<string>();
  readonly #abort = new AbortController();
  #reason: string | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #answer: PromiseWithResolvers<Uint8Array> | undefined;

  /** Takes ownership of the socket. */
  constructor(socket: SeqpacketSocket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
    this.pid = socket.peer.pid;
    this.ended = this.#end.promise;
  }

  /** Waits for the hello. Rejects with ERR_ZDS; the connection has ended then. */
  async handshake(): Promise<void> {
    const hello = this.#next();
    void this.#receive();
    try {
      checkHello(await this.#within(hello.promise, 'say hello'));
    } catch (error) {
      this.close(errorMessage(error));
      throw error;
    }
  }

  /** Resolves with the error text of the acknowledgement, empty for success. Rejects with ERR_ZDS. */
  async request(request: ZdsRequest, netns?: Netns): Promise<string> {
    if (this.#waiting >= REQUESTS_WAITING_MAX)
      throw new MeshError('ERR_LIMIT', 'too many requests wait for the tunnel');
    // The handle may be closed by its owner while the request waits its turn.
    const handle = netns?.duplicate();
    this.#waiting += 1;
    const turn = this.#last.then(() => this.#exchange(request, handle));
    this.#last = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.#waiting -= 1;
      handle?.[Symbol.dispose]();
    }
  }

  /** Idempotent. */
  close(reason: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#abort.abort();
    this.#answer?.reject(this.#gone());
    void this.#socket[Symbol.asyncDispose]();
    this.#end.resolve(reason);
  }

  async #exchange(request: ZdsRequest, netns: Netns | undefined): Promise<string> {
    if (this.#reason !== undefined) throw this.#gone();
    const answer = this.#next();
    try {
      const sent = this.#socket.send(encodeRequest(request), netns?.fd);
      sent.catch((error: unknown) => this.close(`cannot send: ${errorMessage(error)}`));
      return decodeAck(await this.#within(answer.promise, `acknowledge ${request.kind}`));
    } catch (error) {
      this.close(errorMessage(error));
      throw error;
    } finally {
      this.#answer = undefined;
    }
  }

  async #receive(): Promise<void> {
    try {
      while (this.#reason === undefined) {
        const message = await this.#socket.receive(this.#abort.signal);
        if (message === undefined) return this.close('closed by the tunnel');
        for (const fd of message.fds) closeFd(fd);
        if (message.fds.length > 0) throw new MeshError('ERR_ZDS', 'the tunnel sent a descriptor');
        if (this.#answer === undefined) throw new MeshError('ERR_ZDS', 'the tunnel spoke without being asked');
        this.#answer.resolve(message.data);
        this.#answer = undefined;
      }
    } catch (error) {
      this.close(errorMessage(error));
    }
  }

  #next(): PromiseWithResolvers<Uint8Array> {
    const answer = Promise.withResolvers<Uint8Array>();
    answer.promise.catch(() => {});
    this.#answer = answer;
    return answer;
  }

  async #within<T>(promise: Promise<T>, what: string): Promise<T> {
    const timer = new AbortController();
    const late = this.#clock.sleep(ANSWER_TIMEOUT_MS, timer.signal).then(() => {
      throw new MeshError('ERR_ZDS', `the tunnel did not ${what} in 5 s`);
    });
    late.catch(() => {});
    try {
      return await Promise.race([promise, late]);
    } finally {
      timer.abort();
    }
  }

  #gone(): MeshError {
    return new MeshError('ERR_ZDS', `the tunnel's connection has ended: ${this.#reason}`);
  }
}

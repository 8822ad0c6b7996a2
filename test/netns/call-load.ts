/**
 * Calls at a steady rate, each on a connection of its own, and connections that stay: what applications see while
 * something below them is replaced. Every call that was not answered in full, and every reset, is kept with its reason.
 */
import dgram from 'node:dgram';
import net from 'node:net';
import { bindUdp, connectTcp, type IpPort, type Netns } from 'culvert-netns';

export interface Route {
  readonly from: Netns;
  readonly to: IpPort;
}

/** How often calls are started. */
const TICK_MS = 20;
const ANSWER_LIMIT_MS = 20_000;
const QUERY_LIMIT_MS = 10_000;
/** Calls that wait for their answer; beyond it none is started, so that a slow machine is not buried. */
const WAITING_MAX = 100;

export class CallLoad implements AsyncDisposable {
  readonly failures: string[] = [];
  answered = 0;
  readonly #calls: readonly (() => Promise<void>)[];
  readonly #perTick: number;
  readonly #timer: NodeJS.Timeout;
  readonly #waiting = new Set<Promise<void>>();
  #turn = 0;

  /** Makes these calls in turn; a rejected one has failed. */
  constructor(calls: readonly (() => Promise<void>)[], perSecond: number) {
    this.#calls = calls;
    this.#perTick = Math.ceil((perSecond * TICK_MS) / 1_000);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Resolves when so many more calls have ended, one way or the other. */
  async more(count: number): Promise<void> {
    const until = this.answered + this.failures.length + count;
    while (this.answered + this.failures.length < until) await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }

  /** Starts no more, and waits for those that were. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#waiting);
  }

  #tick(): void {
    for (let i = 0; i < this.#perTick && this.#waiting.size < WAITING_MAX; i++) {
      const start = this.#calls[this.#turn++ % this.#calls.length];
      if (!start) return;
      const call = start().then(
        () => void this.answered++,
        (error: Error) => void this.failures.push(error.message),
      );
      this.#waiting.add(call);
      void call.finally(() => this.#waiting.delete(call));
    }
  }
}

/** A connection of its own, one exchange, an orderly end. Rejects when any of it fails. */
export async function callOnce({ from, to }: Route): Promise<void> {
  const socket = new net.Socket({
    fd: await connectTcp(from, { to, timeoutMs: ANSWER_LIMIT_MS }),
    allowHalfOpen: true,
  });
  let heard = '';
  await new Promise<void>((resolve, reject) => {
    socket.setTimeout(ANSWER_LIMIT_MS, () => socket.destroy(new Error(`no answer in ${ANSWER_LIMIT_MS} ms`)));
    socket.on('data', (data) => {
      heard += data;
    });
    socket.on('error', reject);
    socket.on('close', () => (heard === 'ping' ? resolve() : reject(new Error(`closed after "${heard}"`))));
    socket.end('ping');
  });
}

/** One query by UDP, as often as resolvers repeat it: once. Rejects when no answer comes. */
export async function askOnce({ from, to }: Route, query: Buffer): Promise<void> {
  const socket = dgram.createSocket('udp4');
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer to a query in ${QUERY_LIMIT_MS} ms`)), QUERY_LIMIT_MS);
      socket.once('message', () => {
        clearTimeout(timer);
        resolve();
      });
      socket.once('error', reject);
      socket.bind({ fd: bindUdp(from, { ip: '0.0.0.0', port: 0 }) }, () => socket.send(query, to.port, to.ip));
    });
  } finally {
    socket.close();
  }
}

/** One connection that is talked over again and again until it ends. */
export class LongStream {
  readonly #socket: net.Socket;
  #exchanged = 0;
  /** When it ended without being asked to, by `performance.now()`; undefined as long as it lives. */
  brokenMs: number | undefined;
  #isEnding = false;

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on('data', () => {
      this.#exchanged += 1;
      if (!this.#isEnding) setTimeout(() => socket.write('x'), TICK_MS);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      if (!this.#isEnding) this.brokenMs = performance.now();
    });
    socket.write('x');
  }

  static async open({ from, to }: Route): Promise<LongStream> {
    return new LongStream(new net.Socket({ fd: await connectTcp(from, { to, timeoutMs: ANSWER_LIMIT_MS }) }));
  }

  get exchanged(): number {
    return this.#exchanged;
  }

  /** An orderly end. */
  end(): void {
    this.#isEnding = true;
    this.#socket.end();
  }
}

/**
 * Sends queries that the mesh does not know to the nameservers, from inside the pod's namespace.
 *
 * Guarantees
 *  - Every forward has its own socket, port and id; an answer that does not fit its query is not taken.
 *  - At most `OUTSTANDING_MAX` forwards wait at one time, the others fail at once.
 *  - A truncated answer for a TCP client is asked again over TCP.
 */

import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { Socket } from 'node:net';
import { bindUdp, connectTcp, type Netns } from 'culvert-netns';
import { MeshError } from '../../core/errors.ts';
import { ipFamily } from '../../model/ip.ts';
import { type DnsQuery, encodeForward, type ForwardedAnswer, readForwarded } from './dns-message.ts';
import { TcpMessages } from './tcp-messages.ts';

export interface DnsForward {
  /** The nameserver's answer as sent. Rejects with ERR_LIMIT, ERR_TIMEOUT, ERR_SYSTEM or ERR_NOT_FOUND. */
  forward(message: Buffer, query: DnsQuery, transport: 'udp' | 'tcp'): Promise<Buffer>;
}

export interface DnsForwarderOptions {
  readonly netns: Netns | undefined;
  readonly mark: number | undefined;
  readonly nameservers: readonly string[];
  readonly port: number;
}

/** Per pod. A resolver of the C library keeps two queries open; this is a pod of 500 busy threads. */
const OUTSTANDING_MAX = 1_000;
const ATTEMPT_TIMEOUT_MS = 2_500;
const ROUNDS = 2;

interface Attempt {
  readonly server: string;
  readonly bytes: Buffer;
  readonly query: DnsQuery;
  readonly id: number;
}

export class DnsForwarder implements DnsForward {
  readonly #options: DnsForwarderOptions;
  readonly #signal: AbortSignal;
  #outstanding = 0;

  /** `signal` gives up everything outstanding. */
  constructor(options: DnsForwarderOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  async forward(message: Buffer, query: DnsQuery, transport: 'udp' | 'tcp'): Promise<Buffer> {
    if (this.#outstanding >= OUTSTANDING_MAX) throw new MeshError('ERR_LIMIT', 'too many outstanding forwards');
    this.#outstanding += 1;
    try {
      return await this.#tryServers(message, query, transport);
    } finally {
      this.#outstanding -= 1;
    }
  }

  async #tryServers(message: Buffer, query: DnsQuery, transport: 'udp' | 'tcp'): Promise<Buffer> {
    let failure: unknown = new MeshError('ERR_NOT_FOUND', 'no nameserver is configured');
    for (let round = 0; round < ROUNDS; round++) {
      for (const server of this.#options.nameservers) {
        try {
          return await this.#ask(server, message, { query, transport });
        } catch (error) {
          failure = error;
          if (this.#signal.aborted) throw error;
        }
      }
    }
    throw failure;
  }

  async #ask(
    server: string,
    message: Buffer,
    { query, transport }: { readonly query: DnsQuery; readonly transport: 'udp' | 'tcp' },
  ): Promise<Buffer> {
    const id = randomInt(0x1_0000);
    const attempt = { server, bytes: encodeForward(message, id), query, id };
    const { answer, seen } = await this.#overUdp(attempt);
    if (transport === 'udp' || !seen.isTruncated) return answer;
    return this.#overTcp(attempt);
  }

  async #overUdp(attempt: Attempt): Promise<{ readonly answer: Buffer; readonly seen: ForwardedAnswer }> {
    const { netns, mark, port } = this.#options;
    const isV6 = ipFamily(attempt.server) === 6;
    const fd = bindUdp(netns, { ip: isV6 ? '::' : '0.0.0.0', port: 0, ...(mark === undefined ? {} : { mark }) });
    const socket = createSocket(isV6 ? 'udp6' : 'udp4');
    const deadline = AbortSignal.any([AbortSignal.timeout(ATTEMPT_TIMEOUT_MS), this.#signal]);
    try {
      return await new Promise((resolve, reject) => {
        const giveUp = (): void => reject(new MeshError('ERR_TIMEOUT', `no answer from ${attempt.server}`));
        deadline.addEventListener('abort', giveUp, { once: true });
        socket.on('error', (cause) => reject(new MeshError('ERR_SYSTEM', cause.message, { cause })));
        socket.on('message', (answer) => {
          const seen = readForwarded(answer, attempt.query, attempt.id);
          if (seen) resolve({ answer, seen });
        });
        socket.bind({ fd }, () => {
          socket.connect(port, attempt.server, () => socket.send(attempt.bytes));
        });
      });
    } finally {
      socket.close();
    }
  }

  async #overTcp({ server, bytes, query, id }: Attempt): Promise<Buffer> {
    const { netns, mark, port } = this.#options;
    const deadline = AbortSignal.any([AbortSignal.timeout(ATTEMPT_TIMEOUT_MS), this.#signal]);
    const to = { ip: server, port };
    const options = { to, timeoutMs: ATTEMPT_TIMEOUT_MS, ...(mark === undefined ? {} : { mark }) };
    const socket = new Socket({ fd: await connectTcp(netns, options, deadline) });
    try {
      const messages = new TcpMessages();
      return await new Promise((resolve, reject) => {
        const giveUp = (): void => reject(new MeshError('ERR_TIMEOUT', `no answer from ${server}`));
        deadline.addEventListener('abort', giveUp, { once: true });
        socket.on('error', (cause) => reject(new MeshError('ERR_SYSTEM', cause.message, { cause })));
        socket.on('close', giveUp);
        socket.on('data', (chunk: Buffer) => {
          for (const answer of messages.push(chunk)) if (readForwarded(answer, query, id)) resolve(answer);
        });
        socket.write(TcpMessages.frame(bytes));
      });
    } finally {
      socket.destroy();
    }
  }
}

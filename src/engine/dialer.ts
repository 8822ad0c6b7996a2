/** Dials out of a pod's namespace. */
import { connectTcp, type Netns, NetnsError } from 'culvert-netns';
import type { IpPort } from '../model/address.ts';
import type { EngineOptions } from './port.ts';

export interface DialRequest {
  readonly to: IpPort;
  /** Show this source address (IP_TRANSPARENT). When it cannot be bound the kernel's choice is used. */
  readonly sourceIp?: string | undefined;
}

export class Dialer {
  readonly #options: EngineOptions;

  constructor(options: EngineOptions) {
    this.#options = options;
  }

  /** A connected, non-blocking descriptor that the caller owns. Rejects with the NetnsError of the dial. */
  async dial(netns: Netns | undefined, request: DialRequest, signal: AbortSignal): Promise<number> {
    const { sourceIp, to } = request;
    if (sourceIp === undefined) return this.#connect(netns, { to }, signal);
    try {
      return await this.#connect(netns, { to, sourceIp }, signal);
    } catch (error) {
      if (!(error instanceof NetnsError) || error.syscall !== 'bind') throw error;
      return this.#connect(netns, { to }, signal);
    }
  }

  async #connect(netns: Netns | undefined, { to, sourceIp }: DialRequest, signal: AbortSignal): Promise<number> {
    const { keepalive, userTimeout, mark, sourcePreservingMark, connectTimeoutMs } = this.#options;
    const isForeign = sourceIp !== undefined;
    return connectTcp(
      netns,
      {
        to,
        ...(isForeign ? { fromIp: sourceIp, transparent: true } : {}),
        mark: isForeign ? (sourcePreservingMark ?? mark) : mark,
        timeoutMs: connectTimeoutMs,
        noDelay: true,
        keepalive,
        userTimeoutMs:
          userTimeout && keepalive ? keepalive.timeMs + keepalive.intervalMs * keepalive.retries : undefined,
      },
      signal,
    );
  }
}

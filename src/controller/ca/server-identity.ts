/**
 * Key and certificate of the control plane's own servers: issued anew when the authority changes, and in time before
 * they run out. A failure keeps the old pair and is tried again.
 */
import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { ServerPair } from '../../core/grpc-server.ts';
import type { Logger } from '../../core/logger.ts';
import type { ServerCertificate } from '../../pki/index.ts';
import type { ControlPlaneAuthority } from './control-plane-authority.ts';

export interface ServerIdentityOptions {
  readonly authority: Pick<ControlPlaneAuthority, 'issueServer'>;
  readonly dnsNames: readonly string[];
  readonly ips: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
}

const LOOK_MS = 600_000;

export class ServerIdentity implements AsyncDisposable {
  readonly #options: ServerIdentityOptions;
  readonly #listeners = new Set<(pair: ServerPair) => void>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #certificate: ServerCertificate;
  #renewAtMs = 0;

  private constructor(options: ServerIdentityOptions, certificate: ServerCertificate) {
    this.#options = options;
    this.#certificate = certificate;
    this.#plan();
    this.#running = this.#run();
  }

  /** Rejects when the authority signs nothing. */
  static async open(options: ServerIdentityOptions): Promise<ServerIdentity> {
    return new ServerIdentity(options, await options.authority.issueServer(options.dnsNames, options.ips));
  }

  get pair(): ServerPair {
    return { privateKeyPem: this.#certificate.key.reveal(), certChainPem: this.#certificate.certChainPem };
  }

  onChange(listener: (pair: ServerPair) => void): void {
    this.#listeners.add(listener);
  }

  async renew(): Promise<void> {
    const { authority, dnsNames, ips, log } = this.#options;
    try {
      this.#certificate = await authority.issueServer(dnsNames, ips);
      this.#plan();
      for (const listener of this.#listeners) listener(this.pair);
    } catch (error) {
      log.error('serving certificate not renewed', { error: errorMessage(error) });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#stop.signal.aborted) {
      await clock.sleep(LOOK_MS, this.#stop.signal).catch(() => undefined); // rejects when disposed
      if (!this.#stop.signal.aborted && clock.nowMs() >= this.#renewAtMs) await this.renew();
    }
  }

  /** Half of the life that is left. */
  #plan(): void {
    const nowMs = this.#options.clock.nowMs();
    this.#renewAtMs = nowMs + (this.#certificate.notAfterMs - nowMs) / 2;
  }
}

/** The authority as the control plane uses it: signs workloads and its own server, and says whom to trust. */
import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import {
  type CertificateAuthority,
  type ServerCertificate,
  WatchedFolder,
  type WorkloadSigner,
} from '../../pki/index.ts';

export interface ControlPlaneAuthority extends WorkloadSigner {
  readonly rootsPem: string;
  /** Revocation lists to hand out; undefined: none. */
  readonly crlPem: string | undefined;
  readonly notAfterMs: number;
  issueServer(dnsNames: readonly string[], ips?: readonly string[]): Promise<ServerCertificate>;
  /** Looks whether anything is due or has changed elsewhere; answers whether roots or signer are others now. */
  renewRootIfDue(): Promise<boolean>;
}

export interface AuthorityWatchDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Roots or signer are others now. */
  readonly onChange: () => void;
}

/** Renewals are looked for this often, the first time at a random moment: replicas do not all come at once. */
const CHECK_MS = 3_600_000;
const SETTLE_MS = 100;

/** Keeps an authority current for as long as it is not disposed. */
export class AuthorityWatch implements AsyncDisposable {
  readonly #authority: ControlPlaneAuthority;
  readonly #deps: AuthorityWatchDeps;
  readonly #stop = new AbortController();
  readonly #checking: Promise<void>;
  readonly #folder: WatchedFolder | undefined;

  constructor(authority: ControlPlaneAuthority, deps: AuthorityWatchDeps, plugged?: CertificateAuthority) {
    this.#authority = authority;
    this.#deps = deps;
    const folder = plugged?.pluggedFolder;
    this.#folder =
      folder === undefined || !plugged
        ? undefined
        : new WatchedFolder({
            ...{ folder, settleMs: SETTLE_MS, clock: deps.clock },
            onChange: () => this.#look('plugged authority not taken', () => plugged.reloadPlugged()),
            onUnwatched: (error) =>
              deps.log.warn('plugged authority not watched', { folder, error: errorMessage(error) }),
          });
    this.#checking = this.#check();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#folder?.[Symbol.asyncDispose]();
    await this.#checking;
  }

  async #check(): Promise<void> {
    const { signal } = this.#stop;
    const { clock } = this.#deps;
    await clock.sleep(CHECK_MS * Math.random(), signal).catch(() => undefined); // rejects when disposed
    while (!signal.aborted) {
      await this.#look('root certificate not renewed', () => this.#authority.renewRootIfDue());
      await clock.sleep(CHECK_MS, signal).catch(() => undefined);
    }
  }

  async #look(failure: string, look: () => Promise<boolean>): Promise<void> {
    const { log, onChange } = this.#deps;
    try {
      if (!(await look())) return;
      log.info('certificate authority changed', { notAfter: new Date(this.#authority.notAfterMs).toISOString() });
      onChange();
    } catch (error) {
      log.error(failure, { error: errorMessage(error) });
    }
  }
}

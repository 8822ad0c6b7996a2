/**
 * Which back-end captures a pod: the one it asks for, else the first of the node that can.
 *
 * Invariants
 *  - A back-end is probed and opened when it is first needed, so that a node that captures by eBPF never runs iptables.
 *  - What could not be opened is tried again when it is needed again.
 */
import { errorMessage, MeshError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { BackendName, CaptureOptions, RedirectBackend } from '../redirect/index.ts';

export class BackendChoice implements AsyncDisposable {
  /** In order of preference. */
  readonly #backends: readonly RedirectBackend[];
  readonly #log: Logger;
  readonly #opening = new Map<BackendName, Promise<void>>();
  readonly #opened = new Set<RedirectBackend>();
  #tunnelPids: readonly number[] = [];

  private constructor(backends: readonly RedirectBackend[], log: Logger) {
    this.#backends = backends;
    this.#log = log;
  }

  /**
   * Opens the node's own: the first of `backends` that works, or the one that is `required`. Rejects with
   * ERR_UNSUPPORTED and all reasons when there is none.
   */
  static async open(
    backends: readonly RedirectBackend[],
    required: BackendName | undefined,
    log: Logger,
  ): Promise<BackendChoice> {
    const isRequired = ({ name }: RedirectBackend): boolean => name === required;
    const candidates = required === undefined ? backends : backends.filter(isRequired);
    const reasons: string[] = [];
    for (const backend of candidates) {
      const others = backends.filter((other) => other !== backend && !reasons.some((r) => r.startsWith(other.name)));
      const choice = new BackendChoice([backend, ...others], log);
      try {
        await choice.#ensureOpen(backend);
        log.info('redirection chosen', { backend: backend.name, unusable: reasons });
        return choice;
      } catch (error) {
        reasons.push(`${backend.name}: ${errorMessage(error)}`);
      }
    }
    const what = required === undefined ? 'no way to redirect traffic works here' : `${required} is asked for`;
    throw new MeshError('ERR_UNSUPPORTED', `${what}; ${reasons.join('; ') || 'it is not configured'}`);
  }

  /** The node's own. */
  get preferred(): BackendName {
    return (this.#backends[0] as RedirectBackend).name; // open() has put it there
  }

  /**
   * The back-end for a pod, open. Rejects with ERR_UNSUPPORTED when the pod asks for one that cannot serve it; without
   * such a wish the first that can is taken.
   */
  async choose(options: CaptureOptions, requested: BackendName | undefined): Promise<RedirectBackend> {
    const reasons: string[] = [];
    for (const backend of this.#backends) {
      if (requested !== undefined && backend.name !== requested) continue;
      const refusal = backend.refusal(options) ?? (await this.#openingFault(backend));
      if (refusal === undefined) return backend;
      reasons.push(`${backend.name}: ${refusal}`);
    }
    const wish = requested === undefined ? 'no back-end' : `not ${requested}, which the pod asks for,`;
    throw new MeshError('ERR_UNSUPPORTED', `${wish} can redirect the pod; ${reasons.join('; ') || 'it is not there'}`);
  }

  /** The back-end of that name, open; undefined when there is none or it does not work. */
  async find(name: string): Promise<RedirectBackend | undefined> {
    const backend = this.#backends.find((candidate) => candidate.name === name);
    return backend && (await this.#openingFault(backend)) === undefined ? backend : undefined;
  }

  /**
   * Tunnels are connected, the one that takes over last; back-ends that are opened later learn of them as well. Rejects
   * with ERR_REDIRECT.
   */
  async tunnelsConnected(pids: readonly number[]): Promise<void> {
    this.#tunnelPids = pids;
    for (const backend of this.#opened) await tellTunnels(backend, pids);
  }

  /** Removes what the back-ends in use have on the node. Every one is tried; rejects with the first ERR_REDIRECT. */
  async uninstall(): Promise<void> {
    const results = await Promise.allSettled([...this.#opened].map((backend) => backend.uninstall()));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  /** Closes handles; what is installed stays in force. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const backend of this.#opened) await backend[Symbol.asyncDispose]();
  }

  async #openingFault(backend: RedirectBackend): Promise<string | undefined> {
    try {
      await this.#ensureOpen(backend);
      return undefined;
    } catch (error) {
      this.#log.debug('back-end cannot be used', { backend: backend.name, reason: errorMessage(error) });
      return errorMessage(error);
    }
  }

  async #ensureOpen(backend: RedirectBackend): Promise<void> {
    let opening = this.#opening.get(backend.name);
    if (opening === undefined) {
      opening = this.#open(backend);
      this.#opening.set(backend.name, opening);
      opening.catch(() => this.#opening.delete(backend.name));
    }
    await opening;
  }

  async #open(backend: RedirectBackend): Promise<void> {
    const usability = await backend.probe();
    if (!usability.usable) throw new MeshError('ERR_UNSUPPORTED', usability.reason);
    await backend.open();
    this.#opened.add(backend);
    await tellTunnels(backend, this.#tunnelPids);
  }
}

async function tellTunnels(backend: RedirectBackend, pids: readonly number[]): Promise<void> {
  for (const pid of pids) await backend.tunnelConnected(pid);
}

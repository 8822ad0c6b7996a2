/**
 * Which back-end captures a pod: the one it asks for, else the node's. Every back-end is probed once, at start; one is
 * opened when the first pod needs it.
 */
import { errorMessage, MeshError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { BackendName, CaptureOptions, RedirectBackend, Usability } from '../redirect/index.ts';

export class BackendChoice implements AsyncDisposable {
  /** In order of preference, only those this machine can run. */
  readonly #usable: readonly RedirectBackend[];
  readonly #opened = new Map<BackendName, Promise<void>>();

  #tunnelPid: number | undefined;

  private constructor(usable: readonly RedirectBackend[]) {
    this.#usable = usable;
  }

  /**
   * Probes `backends`, given in order of preference, and opens the node's own. Rejects with ERR_UNSUPPORTED when none can
   * be used, or not the one that is `required`.
   */
  static async open(
    backends: readonly RedirectBackend[],
    required: BackendName | undefined,
    log: Logger,
  ): Promise<BackendChoice> {
    const ordered = [...backends].sort((a, b) => Number(b.name === required) - Number(a.name === required));
    const usable: RedirectBackend[] = [];
    const reasons: string[] = [];
    for (const backend of ordered) {
      const usability = await tryBackend(backend, usable.length === 0);
      if (usability.usable) usable.push(backend);
      else reasons.push(`${backend.name}: ${usability.reason}`);
    }
    const [first] = usable;
    if (first === undefined || (required !== undefined && first.name !== required)) {
      throw new MeshError('ERR_UNSUPPORTED', `no way to redirect traffic here; ${reasons.join('; ')}`);
    }
    const others = usable.slice(1).map(({ name }) => name);
    log.info('redirection chosen', { backend: first.name, also: others, unusable: reasons });
    const choice = new BackendChoice(usable);
    choice.#opened.set(first.name, Promise.resolve());
    return choice;
  }

  /** The node's own. */
  get preferred(): BackendName {
    return (this.#usable[0] as RedirectBackend).name; // open() has seen one
  }

  get all(): readonly RedirectBackend[] {
    return this.#usable;
  }

  /** Opened already: the only ones that can have something outside of the pods. */
  get opened(): readonly RedirectBackend[] {
    return this.#usable.filter(({ name }) => this.#opened.has(name));
  }

  /**
   * The back-end for a pod, ready to be used. Rejects with ERR_UNSUPPORTED when the pod asks for one that cannot serve it;
   * without such a wish the first that can is taken.
   */
  async choose(options: CaptureOptions, requested: BackendName | undefined): Promise<RedirectBackend> {
    const reasons: string[] = [];
    for (const backend of this.#usable) {
      if (requested !== undefined && backend.name !== requested) continue;
      const refusal = backend.refusal(options);
      if (refusal === undefined) {
        await this.#ensureOpen(backend);
        return backend;
      }
      reasons.push(`${backend.name}: ${refusal}`);
    }
    const wish = requested === undefined ? 'no back-end' : `not ${requested}, which the pod asks for`;
    throw new MeshError('ERR_UNSUPPORTED', `${wish} can redirect the pod; ${reasons.join('; ') || 'not usable here'}`);
  }

  /** A tunnel connected; also those that are opened later learn of it. Rejects with ERR_REDIRECT. */
  async tunnelConnected(pid: number): Promise<void> {
    this.#tunnelPid = pid;
    for (const backend of this.opened) await backend.tunnelConnected(pid);
  }

  /** The back-end of that name, ready to be used; undefined when this machine cannot run it. */
  async find(name: BackendName): Promise<RedirectBackend | undefined> {
    const backend = this.#usable.find((candidate) => candidate.name === name);
    if (backend) await this.#ensureOpen(backend);
    return backend;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const backend of this.opened) await backend[Symbol.asyncDispose]();
  }

  async #openLate(backend: RedirectBackend): Promise<void> {
    await backend.open();
    if (this.#tunnelPid !== undefined) await backend.tunnelConnected(this.#tunnelPid);
  }

  async #ensureOpen(backend: RedirectBackend): Promise<void> {
    let opening = this.#opened.get(backend.name);
    if (opening === undefined) {
      opening = this.#openLate(backend);
      this.#opened.set(backend.name, opening);
    }
    try {
      await opening;
    } catch (error) {
      this.#opened.delete(backend.name);
      throw error;
    }
  }
}

/** A probe that says yes is not enough for the node's own: it has to open as well. */
async function tryBackend(backend: RedirectBackend, open: boolean): Promise<Usability> {
  const usability = await backend.probe();
  if (!usability.usable || !open) return usability;
  try {
    await backend.open();
    return usability;
  } catch (error) {
    return { usable: false, reason: errorMessage(error) };
  }
}

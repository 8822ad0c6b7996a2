/**
 * The proxies of the pods on this node: one set of listeners per pod namespace.
 *
 * Invariants
 *  - At most one proxy of a pod accepts connections. A repeated add of the same namespace changes nothing.
 *  - A pod whose proxy could not start is pending and tried again every `RETRY_MS`; a later add or delete ends that.
 *  - After a delete nothing new is accepted; open connections go on until they end, at most for the pod's drain time,
 *    or `drainMs` when it has none.
 *  - Every namespace descriptor handed in is closed exactly once.
 */
import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { PodInfo } from '../state/workload-index.ts';

/** Owner of a descriptor of a network namespace. */
export interface NetnsHandle extends Disposable {
  /** Equal for the same namespace. */
  readonly id: string;
}

/** Listeners of one pod. */
export interface PodProxy {
  /** Closes the listeners at once; resolves when the last connection has ended, at the deadline at the latest. */
  drain(deadlineMs: number): Promise<void>;
}

export interface PodProxiesDeps<N extends NetnsHandle> {
  /** Rejects when a listener cannot be made, leaving none behind. `owner` is unique per started proxy. */
  readonly startProxy: (owner: string, info: PodInfo, netns: N) => Promise<PodProxy>;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long open connections of a deleted pod may go on. */
  readonly drainMs: number;
  /** The pod's listeners close next while those of another tunnel stay: what waits in their queues shall go there. */
  readonly passQueuesOn: (netns: N) => void;
  readonly changed: () => void;
  readonly metrics: { started(): void; stopped(): void };
}

export interface PodState {
  readonly uid: string;
  readonly owner: string | undefined;
  readonly info: PodInfo;
  readonly state: 'Pending' | 'Up';
}

const RETRY_MS = 5_000;

interface Pod<N> {
  info: PodInfo;
  readonly netns: N;
  running: { readonly owner: string; readonly proxy: PodProxy } | undefined;
}

export class PodProxies<N extends NetnsHandle> {
  readonly #deps: PodProxiesDeps<N>;
  readonly #signal: AbortSignal;
  readonly #pods = new Map<string, Pod<N>>();
  readonly #draining = new Set<Promise<void>>();
  #starts = 0;
  #isRetrying = false;

  /** `signal` ends the retries. */
  constructor(deps: PodProxiesDeps<N>, signal: AbortSignal) {
    this.#deps = deps;
    this.#signal = signal;
  }

  get pending(): number {
    let count = 0;
    for (const { running } of this.#pods.values()) if (!running) count += 1;
    return count;
  }

  get active(): number {
    return this.#pods.size - this.pending;
  }

  *states(): Generator<PodState> {
    for (const [uid, { info, running }] of this.#pods) {
      yield { uid, owner: running?.owner, info, state: running ? 'Up' : 'Pending' };
    }
  }

  /** Takes over `netns`. Rejects when the proxy could not start; the pod is pending then. */
  async add(uid: string, info: PodInfo, netns: N): Promise<void> {
    const known = this.#pods.get(uid);
    if (known?.running && known.netns.id === netns.id) {
      known.info = info; // its drain time may be another
      netns[Symbol.dispose]();
      return;
    }
    if (known) this.#remove(uid, 0);
    const pod: Pod<N> = { info, netns, running: undefined };
    this.#pods.set(uid, pod);
    try {
      await this.#start(uid, pod);
    } catch (error) {
      this.#retryLater();
      throw error;
    } finally {
      this.#deps.changed();
    }
  }

  /** Unknown pods are ignored. */
  delete(uid: string): void {
    this.#remove(uid, this.#pods.get(uid)?.info.drainMs ?? this.#deps.drainMs);
    this.#deps.changed();
  }

  /** Deletes every pod that is not among `uids`. */
  retain(uids: ReadonlySet<string>): void {
    for (const uid of [...this.#pods.keys()]) if (!uids.has(uid)) this.delete(uid);
  }

  /** Gives up pods that have no proxy yet: the agent names them again on its next connection. */
  forgetPending(): void {
    for (const [uid, { running }] of [...this.#pods]) if (!running) this.delete(uid);
  }

  /**
   * Closes every listener at once, another tunnel's may take over; resolves when all connections have ended, at the deadline
   * at the latest.
   */
  async drainAll(deadlineMs: number): Promise<void> {
    for (const [uid, { running, netns, info }] of [...this.#pods]) {
      if (running) this.#deps.passQueuesOn(netns);
      this.#remove(uid, Math.min(info.drainMs ?? deadlineMs, deadlineMs));
    }
    this.#deps.changed();
    await Promise.all(this.#draining);
  }

  async #start(uid: string, pod: Pod<N>): Promise<void> {
    const { startProxy, log, metrics } = this.#deps;
    this.#starts += 1;
    const owner = `${uid}#${this.#starts}`;
    const proxy = await startProxy(owner, pod.info, pod.netns);
    if (this.#pods.get(uid) !== pod) {
      await proxy.drain(0); // deleted or replaced meanwhile
      return;
    }
    pod.running = { owner, proxy };
    metrics.started();
    log.info('pod proxy started', { uid, pod: pod.info.name, namespace: pod.info.namespace });
  }

  #remove(uid: string, deadlineMs: number): void {
    const pod = this.#pods.get(uid);
    if (!pod) return;
    this.#pods.delete(uid);
    const { running, netns, info } = pod;
    if (!running) {
      netns[Symbol.dispose]();
      return;
    }
    const { log, metrics } = this.#deps;
    log.info('pod proxy stops', { uid, pod: info.name, namespace: info.namespace });
    const ended = running.proxy
      .drain(deadlineMs)
      .catch((error: unknown) => log.warn('pod proxy did not stop in order', { uid, error: errorMessage(error) }))
      .finally(() => {
        netns[Symbol.dispose]();
        metrics.stopped();
        this.#draining.delete(ended);
        this.#deps.changed();
      });
    this.#draining.add(ended);
  }

  #retryLater(): void {
    if (this.#isRetrying || this.#signal.aborted) return;
    this.#isRetrying = true;
    this.#deps.clock.sleep(RETRY_MS, this.#signal).then(
      () => this.#retry(),
      () => {}, // shutting down
    );
  }

  async #retry(): Promise<void> {
    this.#isRetrying = false;
    for (const [uid, pod] of [...this.#pods]) {
      if (pod.running || this.#pods.get(uid) !== pod) continue;
      try {
        await this.#start(uid, pod);
      } catch (error) {
        this.#deps.log.warn('pod proxy still cannot start', { uid, error: errorMessage(error) });
      }
    }
    if (this.pending > 0) this.#retryLater();
    this.#deps.changed();
  }
}

/**
 * The kubelet of one node: a worker for every pod that is bound to it. A pod marked for deletion is ended in order and
 * its object removed; a pod whose object vanished is ended as well.
 */
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import { type ClusterApi, keyOf } from './cluster-api.ts';
import { POD, type Pod } from './kinds.ts';
import { PodWorker, type WorkerDeps } from './pod-worker.ts';
import { ReconcileLoop } from './reconcile-loop.ts';

/** Marks pods that stand for a node's components: they are started by the node, not by its kubelet. */
export const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

export interface KubeletDeps {
  readonly nodeName: string;
  readonly api: ClusterApi;
  readonly clock: Clock;
  readonly log: Logger;
  readonly worker: Omit<WorkerDeps, 'clock' | 'log' | 'writeStatus'>;
}

export class Kubelet implements AsyncDisposable {
  readonly #deps: KubeletDeps;
  readonly #workers = new Map<string, PodWorker>();
  readonly #ending = new Set<string>();
  readonly #loop: ReconcileLoop;
  readonly #subscription: Disposable;
  #closed = false;

  constructor(deps: KubeletDeps) {
    this.#deps = deps;
    this.#loop = new ReconcileLoop(`kubelet ${deps.nodeName}`, deps.log, () => this.#reconcile());
    this.#subscription = deps.api.pods.subscribe(() => this.#loop.kick());
  }

  /** Ends every pod at once, without grace. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#subscription[Symbol.dispose]();
    await this.#loop[Symbol.asyncDispose]();
    await Promise.all([...this.#workers.values()].map((worker) => worker.stop(0)));
  }

  async #reconcile(): Promise<void> {
    const { api, nodeName } = this.#deps;
    const bound = api.pods.list().filter((pod) => pod.spec?.nodeName === nodeName && !isForeign(pod));
    const present = new Set<string>();
    for (const pod of bound) {
      const uid = pod.metadata.uid ?? '';
      present.add(uid);
      if (this.#ending.has(uid)) continue; // a pod of the same UID that came back waits for the end of its former self
      const worker = this.#workers.get(uid);
      worker?.update(pod);
      if (pod.metadata.deletionTimestamp !== undefined) this.#end(uid, worker, pod);
      else if (!worker && !this.#closed) this.#workers.set(uid, this.#startWorker(pod));
    }
    for (const [uid, worker] of this.#workers) if (!present.has(uid)) this.#end(uid, worker);
  }

  #startWorker(pod: Pod): PodWorker {
    const { api, clock, log, worker } = this.#deps;
    return new PodWorker(pod, { ...worker, clock, log, writeStatus: (of, status) => api.writeStatus(of, status) });
  }

  #end(uid: string, worker: PodWorker | undefined, pod?: Pod): void {
    if (this.#ending.has(uid)) return;
    this.#ending.add(uid);
    const work = async (): Promise<void> => {
      await worker?.stop();
      this.#workers.delete(uid);
      const now = pod && this.#deps.api.pods.get(keyOf(pod))?.metadata;
      if (pod && now?.uid === uid && now.deletionTimestamp !== undefined) {
        await this.#deps.api.remove(POD, keyOf(pod));
      }
    };
    void work()
      .catch((error: unknown) => this.#deps.log.error('cannot end a pod', { uid, error: String(error) }))
      .finally(() => {
        this.#ending.delete(uid);
        if (!this.#closed) this.#loop.kick();
      });
  }
}

function isForeign({ metadata, spec }: Pod): boolean {
  return spec?.hostNetwork === true || metadata.annotations?.[MIRROR_ANNOTATION] !== undefined;
}

/**
 * The cluster's deployment controller, scheduler and service allocator as one loop over the present state: what is
 * missing is made, what is too much is ended, what has no node or address gets one.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import { type ClusterApi, keyOf } from './cluster-api.ts';
import {
  chooseNode,
  isOwnedBy,
  planDeployment,
  podOf,
  serviceAddresses,
  TEMPLATE_HASH_LABEL,
} from './deployment-plan.ts';
import { DEPLOYMENT, type Deployment, isReady, POD, SERVICE } from './kinds.ts';
import { ReconcileLoop } from './reconcile-loop.ts';

const SUFFIX_ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';
const SUFFIX_LENGTH = 5;

export interface WorkloadLoopDeps {
  readonly api: ClusterApi;
  readonly clock: Clock;
  readonly log: Logger;
  readonly nodeNames: readonly string[];
}

export class WorkloadLoop implements AsyncDisposable {
  readonly #deps: WorkloadLoopDeps;
  readonly #loop: ReconcileLoop;
  readonly #subscriptions: readonly Disposable[];

  constructor(deps: WorkloadLoopDeps) {
    this.#deps = deps;
    this.#loop = new ReconcileLoop('workloads', deps.log, () => this.#reconcile());
    const kick = (): void => this.#loop.kick();
    const { pods, deployments, services } = deps.api;
    this.#subscriptions = [pods.subscribe(kick), deployments.subscribe(kick), services.subscribe(kick)];
    kick();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]();
    await this.#loop[Symbol.asyncDispose]();
  }

  async #reconcile(): Promise<void> {
    await this.#allocateAddresses();
    const { api } = this.#deps;
    for (const deployment of api.deployments.list()) await this.#reconcileDeployment(deployment);
    await this.#removeOrphans();
    await this.#schedule();
  }

  async #allocateAddresses(): Promise<void> {
    const { api } = this.#deps;
    for (const service of api.services.list()) {
      const addresses = serviceAddresses(service, api.services.list());
      if (!addresses) continue;
      await api.patch(SERVICE, keyOf(service), { spec: { clusterIP: addresses[0], clusterIPs: addresses } });
      await this.#until(() => api.services.get(keyOf(service))?.spec?.clusterIP !== undefined);
    }
  }

  async #reconcileDeployment(deployment: Deployment): Promise<void> {
    const { api } = this.#deps;
    const plan = planDeployment(deployment, api.pods.list(deployment.metadata.namespace));
    for (let i = 0; i < plan.create; i++) {
      const pod = podOf(deployment, randomUUID(), randomSuffix());
      const creationTimestamp = this.#now();
      const node = chooseNode(pod, this.#deps.nodeNames, api.pods.list());
      const spec = { ...pod.spec, ...(node === undefined ? {} : { nodeName: node }) };
      await api.apply(POD, { ...pod, metadata: { ...pod.metadata, creationTimestamp }, spec } as typeof pod);
    }
    for (const pod of plan.remove) await api.requestDeletion(pod, this.#now());
    const owned = api.pods.list(deployment.metadata.namespace).filter((pod) => isOwnedBy(pod, deployment));
    const readyReplicas = owned.filter(isReady).length;
    if (deployment.status?.readyReplicas === readyReplicas && deployment.status.replicas === owned.length) return;
    await api.patch(DEPLOYMENT, keyOf(deployment), { status: { replicas: owned.length, readyReplicas } });
  }

  /** Pods whose deployment is gone. */
  async #removeOrphans(): Promise<void> {
    const { api } = this.#deps;
    for (const pod of api.pods.list()) {
      if (pod.metadata.labels?.[TEMPLATE_HASH_LABEL] === undefined || pod.metadata.deletionTimestamp) continue;
      const deployments = api.deployments.list(pod.metadata.namespace);
      if (!deployments.some((deployment) => isOwnedBy(pod, deployment))) await api.requestDeletion(pod, this.#now());
    }
  }

  async #schedule(): Promise<void> {
    const { api, log, nodeNames } = this.#deps;
    for (const pod of api.pods.list()) {
      if (pod.spec?.nodeName !== undefined || pod.metadata.deletionTimestamp !== undefined) continue;
      const nodeName = chooseNode(pod, nodeNames, api.pods.list());
      if (nodeName === undefined) log.warn('no node for a pod', { pod: pod.metadata.name });
      else {
        await api.patch(POD, keyOf(pod), { spec: { nodeName } });
        await this.#until(() => api.pods.get(keyOf(pod))?.spec?.nodeName !== undefined);
      }
    }
  }

  /** Waits for our own write to show, so that the next decision sees it. Gives up quietly: the loop runs again. */
  async #until(holds: () => boolean): Promise<void> {
    for (let i = 0; i < 200 && !holds(); i++) await this.#deps.clock.sleep(10);
  }

  #now(): string {
    return new Date(this.#deps.clock.nowMs()).toISOString();
  }
}

function randomSuffix(): string {
  return [...randomBytes(SUFFIX_LENGTH)].map((byte) => SUFFIX_ALPHABET[byte % SUFFIX_ALPHABET.length]).join('');
}

/**
 * All that the control plane told about workloads, services and policies.
 *
 * Guarantees
 *  - One batch is applied whole before any listener or waiter sees it: updates in order, then removals.
 *  - Readers get immutable objects; a reader never sees half a batch.
 *  - Bounded: beyond `resourcesMax` new resources are refused one by one, known ones can still change.
 */
import type { Clock } from '../../core/clock.ts';
import { MeshError } from '../../core/errors.ts';
import { type Authorization, authorizationKey } from '../../model/authorization.ts';
import type { ApplicablePolicies } from '../../model/authorize.ts';
import type { Endpoint, MeshView, VipRangeMatch } from '../../model/mesh-view.ts';
import { type Service, serviceKey } from '../../model/service.ts';
import type { Workload } from '../../model/workload.ts';
import { PolicyIndex } from './policy-index.ts';
import { ServiceIndex } from './service-index.ts';
import { type PodInfo, WorkloadIndex } from './workload-index.ts';

export type Address =
  | { readonly kind: 'workload'; readonly workload: Workload }
  | { readonly kind: 'service'; readonly service: Service };

export interface Batch<T> {
  readonly updates: readonly T[];
  /** Names of resources that are gone. */
  readonly removed: readonly string[];
}

/** A resource that was not taken, by its name. */
export interface Rejected {
  readonly name: string;
  readonly reason: string;
}

export interface StateListener {
  /** Something changed; told before what it was. */
  changed?(): void;
  /** `previous` is undefined for a new workload, `current` for a removed one. */
  workloadChanged?(previous: Workload | undefined, current: Workload | undefined): void;
  /** A batch changed at least one policy. */
  policiesChanged?(): void;
}

export interface MeshStateOptions {
  /** Own node; undefined: every workload counts as local. */
  readonly node: string | undefined;
  readonly clock: Clock;
  readonly resourcesMax?: number;
}

/** A large mesh has some 100,000 pods; ten times that is an error of the control plane. */
const DEFAULT_RESOURCES_MAX = 1_000_000;
/** Lookups of local pods that wait at one time. */
const WAITERS_MAX = 10_000;
/** How long a connection waits for its own workload to be announced. */
export const LOCAL_WORKLOAD_WAIT_MS = 5_000;

export class MeshState implements MeshView {
  readonly workloads = new WorkloadIndex();
  readonly services = new ServiceIndex();
  readonly policies = new PolicyIndex();
  readonly #options: MeshStateOptions;
  readonly #listeners = new Set<StateListener>();
  readonly #waiters = new Set<() => void>();

  constructor(options: MeshStateOptions) {
    this.#options = options;
  }

  /** The listener is called after each batch until the returned function is called. */
  subscribe(listener: StateListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  applyAddresses({ updates, removed }: Batch<Address>): readonly Rejected[] {
    const changes: (readonly [Workload | undefined, Workload | undefined])[] = [];
    const rejected: Rejected[] = [];
    for (const update of updates) {
      const name = update.kind === 'workload' ? update.workload.uid : serviceKey(update.service);
      if (this.#isFull() && !this.workloads.find(name) && !this.services.find(name)) {
        rejected.push({ name, reason: 'too many resources' });
      } else if (update.kind === 'service') {
        this.services.insert(update.service);
      } else {
        const previous = this.workloads.insert(update.workload);
        if (previous) this.services.removeEndpoints(previous);
        this.services.addEndpoints(update.workload);
        changes.push([previous, update.workload]);
      }
    }
    for (const name of removed) {
      const workload = this.workloads.remove(name);
      if (workload) {
        this.services.removeEndpoints(workload);
        changes.push([workload, undefined]);
      } else {
        this.services.remove(name);
      }
    }
    for (const listener of this.#listeners) listener.changed?.();
    for (const wake of [...this.#waiters]) wake();
    for (const listener of this.#listeners) {
      for (const [previous, current] of changes) listener.workloadChanged?.(previous, current);
    }
    return rejected;
  }

  applyPolicies({ updates, removed }: Batch<Authorization>): readonly Rejected[] {
    const rejected: Rejected[] = [];
    let changed = false;
    for (const policy of updates) {
      const name = authorizationKey(policy);
      if (this.#isFull() && !this.policies.find(name)) {
        rejected.push({ name, reason: 'too many resources' });
        continue;
      }
      this.policies.insert(policy);
      changed = true;
    }
    for (const name of removed) changed = this.policies.remove(name) !== undefined || changed;
    if (!changed) return rejected;
    for (const listener of this.#listeners) listener.changed?.();
    for (const listener of this.#listeners) listener.policiesChanged?.();
    return rejected;
  }

  policiesFor(workload: Pick<Workload, 'namespace' | 'authorizationPolicies'>): ApplicablePolicies {
    return this.policies.applicableTo(workload);
  }

  findLocalWorkload(pod: PodInfo): Workload | undefined {
    return this.workloads.findLocal(pod, this.#options.node);
  }

  /** Waits up to 5 s for the workload of a local pod; rejects with ERR_NOT_FOUND, or ERR_ABORTED. */
  async waitForLocalWorkload(pod: PodInfo, signal?: AbortSignal): Promise<Workload> {
    const known = this.findLocalWorkload(pod);
    if (known) return known;
    const missing = new MeshError(
      'ERR_NOT_FOUND',
      `failed to fetch information about local workload: ${pod.serviceAccount}.${pod.namespace} (${pod.name})`,
    );
    if (this.#waiters.size >= WAITERS_MAX) throw missing;
    const settled = new AbortController();
    let wake = (): void => {};
    const found = new Promise<Workload>((resolve) => {
      wake = () => {
        const workload = this.findLocalWorkload(pod);
        if (workload) resolve(workload);
      };
    });
    this.#waiters.add(wake);
    const stop = signal ? AbortSignal.any([settled.signal, signal]) : settled.signal;
    const deadline = this.#options.clock.sleep(LOCAL_WORKLOAD_WAIT_MS, stop).then(
      () => Promise.reject(missing),
      (error: unknown) => Promise.reject(error),
    );
    try {
      return await Promise.race([found, deadline]);
    } finally {
      this.#waiters.delete(wake);
      settled.abort();
    }
  }

  findWorkload(uid: string): Workload | undefined {
    return this.workloads.find(uid);
  }

  findWorkloadByAddress(network: string, ip: string): Workload | undefined {
    return this.workloads.findByAddress(network, ip);
  }

  findWorkloadByHostname(namespace: string, hostname: string): Workload | undefined {
    return this.workloads.findByHostname(namespace, hostname);
  }

  findService(key: string): Service | undefined {
    return this.services.find(key);
  }

  servicesByHostname(hostname: string): readonly Service[] {
    return this.services.byHostname(hostname);
  }

  servicesByVip(network: string, ip: string): readonly Service[] {
    return this.services.byVip(network, ip);
  }

  servicesByVipRange(network: string, ip: string): readonly VipRangeMatch[] {
    return this.services.byVipRange(network, ip);
  }

  endpoints(key: string): Iterable<Endpoint> {
    return this.services.healthyEndpoints(key);
  }

  findEndpoint(key: string, workloadUid: string): Endpoint | undefined {
    return this.services.endpoints(key).get(workloadUid);
  }

  #isFull(): boolean {
    const count = this.workloads.size + this.services.size + this.policies.size;
    return count >= (this.#options.resourcesMax ?? DEFAULT_RESOURCES_MAX);
  }
}

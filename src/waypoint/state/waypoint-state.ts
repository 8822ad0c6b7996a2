/**
 * What the control plane told, compiled. Every burst of changes makes one new set of compiled services; requests take the
 * newest at their start and keep it, so that a change neither drops nor mixes anything.
 *
 * Invariants
 *  - What cannot be compiled keeps its last good form, and is reported.
 *  - A service that is taken away serves on for a while, and its clusters with it: clients hear of it later than we do,
 *    and have connections open. They are asked to leave.
 *  - Bounded: beyond RESOURCES_MAX new resources are refused.
 */
import type { Clock } from '../../core/clock.ts';
import { errorMessage, MeshError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type {
  BoundService,
  BoundWorkload,
  Cluster,
  ClusterEndpoints,
  GatewayConfig,
  HttpAuthentication,
  HttpAuthorization,
  RateLimitPolicy,
} from '../../model/l7/index.ts';
import {
  BOUND_SERVICE_TYPE,
  BOUND_WORKLOAD_TYPE,
  CLUSTER_ENDPOINTS_TYPE,
  CLUSTER_TYPE,
  GATEWAY_CONFIG_TYPE,
  HTTP_AUTHENTICATION_TYPE,
  HTTP_AUTHORIZATION_TYPE,
  RATE_LIMIT_TYPE,
  type ResourceChange,
  type Subscription,
  WAYPOINT_TYPES,
  type WaypointResources,
  type WaypointType,
  waypointSubscription,
} from '../../xds/index.ts';
import type { FilterDeps } from '../filters/filter.ts';
import { ClusterRuntime } from '../upstream/cluster-runtime.ts';
import type { UpstreamDialer } from '../upstream/dialer.ts';
import { CompiledService } from './compiled-service.ts';
import type { ConfigView } from './config-view.ts';
import { ServiceAddresses } from './service-addresses.ts';

const RESOURCES_MAX = 200_000;
/** Node tunnels hear of a change within milliseconds; their open connections and retries may need longer. */
const LINGER_MS = 30_000;

export interface WaypointStateDeps {
  readonly dialer: UpstreamDialer;
  readonly filters: FilterDeps;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** Policies or settings have changed. */
  readonly onPolicies: () => void;
}

export class WaypointState implements ConfigView {
  readonly #deps: WaypointStateDeps;
  readonly #resources = new Map<WaypointType, Map<string, unknown>>(WAYPOINT_TYPES.map((type) => [type, new Map()]));
  readonly #services = new Map<string, CompiledService>();
  readonly #clusters = new Map<string, ClusterRuntime>();
  readonly #leaving = new Map<string, NodeJS.Timeout>();
  readonly #waiters = new Set<() => void>();
  #addresses = new ServiceAddresses([]);
  #dirtyServices = new Set<string>();
  #dirtyClusters = new Set<string>();
  #allDirty = false;
  #scheduled = false;

  constructor(deps: WaypointStateDeps) {
    this.#deps = deps;
  }

  /** To hand to a discovery client. */
  subscriptions(): readonly Subscription[] {
    return WAYPOINT_TYPES.map((type) => waypointSubscription(type, (change) => this.#apply(type, change)));
  }

  get gateway(): GatewayConfig | undefined {
    return this.#first(GATEWAY_CONFIG_TYPE);
  }

  findAuthorization(key: string): HttpAuthorization | undefined {
    return this.#find(HTTP_AUTHORIZATION_TYPE, key);
  }

  findAuthentication(key: string): HttpAuthentication | undefined {
    return this.#find(HTTP_AUTHENTICATION_TYPE, key);
  }

  findRateLimit(key: string): RateLimitPolicy | undefined {
    return this.#find(RATE_LIMIT_TYPE, key);
  }

  findCluster(key: string): Cluster | undefined {
    return this.#find(CLUSTER_TYPE, key);
  }

  findEndpoints(key: string): ClusterEndpoints | undefined {
    return this.#find(CLUSTER_ENDPOINTS_TYPE, key);
  }

  findWorkload(uid: string): BoundWorkload | undefined {
    return this.#find(BOUND_WORKLOAD_TYPE, uid);
  }

  /** As it is compiled now. */
  service(key: string): CompiledService | undefined {
    return this.#services.get(key);
  }

  /** Taken away, and serving on for those who do not know yet. */
  isLeaving(key: string): boolean {
    return this.#leaving.has(key);
  }

  clusterRuntime(key: string): ClusterRuntime | undefined {
    return this.#clusters.get(key);
  }

  get addresses(): ServiceAddresses {
    return this.#addresses;
  }

  get services(): Iterable<CompiledService> {
    return this.#services.values();
  }

  /** Resolves at the next compilation, or after `waitMs`. */
  async changed(waitMs: number): Promise<void> {
    const stop = new AbortController();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.add(resolve);
    await Promise.race([promise, this.#deps.clock.sleep(waitMs, stop.signal).catch(() => undefined)]);
    this.#waiters.delete(resolve);
    stop.abort();
  }

  /** Compiles what has changed now, instead of at the end of this turn. */
  flush(): void {
    this.#scheduled = false;
    for (const key of this.#dirtyClusters) this.#compileCluster(key);
    const services = this.#allDirty ? new Set(this.#serviceKeys()) : this.#dirtyServices;
    for (const key of services) this.#compileService(key);
    this.#dirtyClusters = new Set();
    this.#dirtyServices = new Set();
    if (this.#allDirty) this.#deps.onPolicies();
    this.#allDirty = false;
    this.#addresses = new ServiceAddresses([...this.#services.values()].map(({ service }) => service));
    for (const wake of this.#waiters) wake();
  }

  [Symbol.dispose](): void {
    for (const timer of this.#leaving.values()) clearTimeout(timer);
    for (const cluster of this.#clusters.values()) cluster.close();
  }

  #apply<T extends WaypointType>(type: T, { updated, removed }: ResourceChange<WaypointResources[T]>): void {
    const table = this.#resources.get(type) as Map<string, unknown>; // every type has one
    for (const { name, value } of updated) {
      const key = keyOf(name);
      if (!table.has(key) && this.#size() >= RESOURCES_MAX) {
        throw new MeshError('ERR_LIMIT', `more than ${RESOURCES_MAX} resources`);
      }
      table.set(key, value);
      this.#mark(type, key);
    }
    for (const name of removed) {
      const key = keyOf(name);
      if (table.delete(key)) this.#mark(type, key);
    }
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#scheduled && this.flush());
  }

  #mark(type: WaypointType, key: string): void {
    if (type === BOUND_SERVICE_TYPE) this.#dirtyServices.add(key);
    else if (type === CLUSTER_TYPE || type === CLUSTER_ENDPOINTS_TYPE) this.#dirtyClusters.add(key);
    else this.#allDirty = true; // policies and settings are rare, and any service may refer to them
  }

  #compileCluster(key: string): void {
    const cluster = this.findCluster(key);
    const known = this.#clusters.get(key);
    const leaving = clusterTimer(key);
    clearTimeout(this.#leaving.get(leaving));
    this.#leaving.delete(leaving);
    if (!cluster) {
      if (known) this.#later(leaving, () => this.#removeCluster(key));
      return;
    }
    const endpoints = this.findEndpoints(key);
    if (known) known.update(cluster, endpoints);
    else {
      const { dialer, random, clock } = this.#deps;
      const deps = { dialer, random, nowMs: () => clock.monotonicMs() };
      this.#clusters.set(key, new ClusterRuntime(cluster, endpoints, deps));
    }
  }

  #compileService(key: string): void {
    const { log, filters } = this.#deps;
    const service: BoundService | undefined = this.#find(BOUND_SERVICE_TYPE, key);
    const { gateway } = this;
    clearTimeout(this.#leaving.get(key));
    this.#leaving.delete(key);
    if (!service) {
      this.#leave(key);
      return;
    }
    if (!gateway) return; // comes last: then everything is compiled
    try {
      this.#services.set(key, new CompiledService({ gateway, service, config: this, deps: filters }));
    } catch (error) {
      log.error('service cannot be compiled; its last good form serves on', {
        service: key,
        error: errorMessage(error),
      });
    }
  }

  #leave(key: string): void {
    if (!this.#services.has(key)) return;
    this.#later(key, () => {
      this.#services.delete(key);
      this.#addresses = new ServiceAddresses([...this.#services.values()].map(({ service }) => service));
    });
  }

  #removeCluster(key: string): void {
    this.#clusters.get(key)?.close();
    this.#clusters.delete(key);
  }

  #later(key: string, work: () => void): void {
    const timer = setTimeout(() => {
      this.#leaving.delete(key);
      work();
    }, LINGER_MS);
    timer.unref();
    this.#leaving.set(key, timer);
  }

  #serviceKeys(): Iterable<string> {
    return (this.#resources.get(BOUND_SERVICE_TYPE) ?? new Map()).keys();
  }

  #find<T extends WaypointType>(type: T, key: string): WaypointResources[T] | undefined {
    return this.#resources.get(type)?.get(key) as WaypointResources[T] | undefined; // stored by type
  }

  #first<T extends WaypointType>(type: T): WaypointResources[T] | undefined {
    const [value] = this.#resources.get(type)?.values() ?? [];
    return value as WaypointResources[T] | undefined; // stored by type
  }

  #size(): number {
    let size = 0;
    for (const table of this.#resources.values()) size += table.size;
    return size;
  }
}

function clusterTimer(key: string): string {
  return `cluster ${key}`;
}

/** The value's own name behind `<namespace>/<gateway>/`. */
function keyOf(name: string): string {
  return name.slice(name.indexOf('/', name.indexOf('/') + 1) + 1);
}

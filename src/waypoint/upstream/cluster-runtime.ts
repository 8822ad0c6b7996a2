/**
 * A cluster while requests run: its endpoints by port and subset, compiled once per change, and the choice among them.
 *
 * Invariants
 *  - An endpoint keeps its runtime, its connections and its counts for as long as it is configured, whatever else changes.
 *  - Nothing is computed per request that depends on the configuration alone.
 */
import type { Cluster, ClusterEndpoints, ClusterPort, TrafficPolicy, WaypointEndpoint } from '../../model/l7/index.ts';
import { DEFAULT_TRAFFIC_POLICY } from '../../model/l7/index.ts';
import type { UpstreamDialer } from './dialer.ts';
import { EndpointRuntime } from './endpoint-runtime.ts';
import { pickEndpoint } from './load-balancing.ts';

export interface ClusterDeps {
  readonly dialer: UpstreamDialer;
  readonly random: () => number;
  readonly nowMs: () => number;
}

/** The endpoints of one port and subset, with their policy. */
export interface EndpointSet {
  readonly cluster: Cluster;
  readonly port: ClusterPort;
  readonly policy: TrafficPolicy;
  readonly endpoints: readonly EndpointRuntime[];
}

export interface PickOptions {
  /** Tried already: another one is preferred. */
  readonly avoid?: ReadonlySet<EndpointRuntime>;
  readonly hash?: number | undefined;
}

export class ClusterRuntime {
  readonly #deps: ClusterDeps;
  readonly #byUid = new Map<string, EndpointRuntime>();
  #cluster: Cluster;
  #sets = new Map<string, EndpointSet>();
  #turn = 0;

  constructor(cluster: Cluster, endpoints: ClusterEndpoints | undefined, deps: ClusterDeps) {
    this.#deps = deps;
    this.#cluster = cluster;
    this.update(cluster, endpoints);
  }

  get cluster(): Cluster {
    return this.#cluster;
  }

  update(cluster: Cluster, given: ClusterEndpoints | undefined): void {
    this.#cluster = cluster;
    const present = new Set<string>();
    for (const endpoint of given?.endpoints ?? []) {
      present.add(endpoint.uid);
      const known = this.#byUid.get(endpoint.uid);
      if (known && isSamePlace(known.endpoint, endpoint)) {
        known.endpoint = endpoint;
        if (!endpoint.healthy) known.stopDialing();
      } else {
        known?.close();
        this.#byUid.set(endpoint.uid, new EndpointRuntime(endpoint, this.#deps.dialer, this.#deps.nowMs()));
      }
    }
    for (const [uid, runtime] of this.#byUid) {
      if (present.has(uid)) continue;
      runtime.close();
      this.#byUid.delete(uid);
    }
    this.#sets = this.#compileSets();
  }

  /** Undefined when the cluster has no such port or subset. */
  find(port: number, subset: string): EndpointSet | undefined {
    return this.#sets.get(setKey(port, subset));
  }

  /** Undefined when no endpoint may take anything now. */
  pick({ endpoints, policy }: EndpointSet, { avoid, hash }: PickOptions = {}): EndpointRuntime | undefined {
    const nowMs = this.#deps.nowMs();
    let usable = endpoints;
    if (endpoints.some(({ ejectedUntilMs }) => ejectedUntilMs > nowMs)) {
      usable = endpoints.filter(({ ejectedUntilMs }) => ejectedUntilMs <= nowMs);
    }
    if (avoid && avoid.size > 0) {
      const fresh = usable.filter((one) => !avoid.has(one));
      if (fresh.length > 0) usable = fresh;
    }
    this.#turn += 1;
    const context = { random: this.#deps.random, turn: this.#turn, hash };
    return pickEndpoint(usable, policy.loadBalancer, context);
  }

  /** The endpoint that has an address. */
  findByAddress(ip: string): EndpointRuntime | undefined {
    for (const one of this.#byUid.values()) if (one.endpoint.addresses.includes(ip)) return one;
    return undefined;
  }

  close(): void {
    for (const runtime of this.#byUid.values()) runtime.close();
    this.#byUid.clear();
    this.#sets.clear();
  }

  #compileSets(): Map<string, EndpointSet> {
    const cluster = this.#cluster;
    const all = [...this.#byUid.values()].filter(({ endpoint }) => endpoint.healthy && endpoint.weight > 0);
    const sets = new Map<string, EndpointSet>();
    for (const port of cluster.ports) {
      const endpoints = all.filter((one) => one.targetPort(port.port) !== undefined);
      const policy = port.policy ?? DEFAULT_TRAFFIC_POLICY;
      sets.set(setKey(port.port, ''), { cluster, port, policy, endpoints });
      for (const subset of port.subsets) {
        const labels = Object.entries(subset.labels);
        const own = endpoints.filter(({ endpoint }) => labels.every(([key, value]) => endpoint.labels[key] === value));
        sets.set(setKey(port.port, subset.name), { cluster, port, policy: subset.policy, endpoints: own });
      }
    }
    return sets;
  }
}

function setKey(port: number, subset: string): string {
  return `${port} ${subset}`;
}

/** Whether connections to the one are connections to the other. */
function isSamePlace(a: WaypointEndpoint, b: WaypointEndpoint): boolean {
  return (
    a.identity === b.identity &&
    a.hbone === b.hbone &&
    a.hostname === b.hostname &&
    a.addresses.join() === b.addresses.join()
  );
}

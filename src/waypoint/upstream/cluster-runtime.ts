/**
 * A cluster while requests run: its endpoints by port and subset, compiled once per change, and the choice among them.
 *
 * Invariants
 *  - An endpoint keeps its runtime, its connections and its counts for as long as it is configured, whatever else changes.
 *  - Nothing is computed per request that depends on the configuration alone.
 */
import type { Cluster, ClusterEndpoints, ClusterPort, TrafficPolicy, WaypointEndpoint } from '../../model/l7/index.ts';
import { DEFAULT_TRAFFIC_POLICY } from '../../model/l7/index.ts';
import { hostFit } from '../match/route-table.ts';
import { ClusterLoad } from './cluster-load.ts';
import { type HashTable, maglevTable, ringTable } from './consistent-hash.ts';
import type { UpstreamDialer } from './dialer.ts';
import { EndpointRuntime } from './endpoint-runtime.ts';
import { pickEndpoint } from './load-balancing.ts';
import { noteResult, type TryResult, withoutEjected } from './outlier-detection.ts';

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
  /** What is under way, whatever the configuration becomes. */
  readonly load: ClusterLoad;
}

export interface PickOptions {
  /** Tried already: another one is preferred. */
  readonly avoid?: ReadonlySet<EndpointRuntime>;
  readonly hash?: number | undefined;
  /** Uid of the endpoint of the request's session. */
  readonly session?: string | undefined;
}

export class ClusterRuntime {
  readonly #deps: ClusterDeps;
  readonly #byUid = new Map<string, EndpointRuntime>();
  #cluster: Cluster;
  readonly #loads = new Map<string, ClusterLoad>();
  readonly #tables = new WeakMap<EndpointSet, HashTable>();
  readonly #dynamic = new Map<string, EndpointRuntime>();
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

  /** Without endpoints those it has stay: theirs is the first resource to go when a cluster is taken away and serves on. */
  update(cluster: Cluster, given: ClusterEndpoints | undefined): void {
    this.#cluster = cluster;
    if (given) this.#replaceEndpoints(given);
    this.#sets = this.#compileSets();
  }

  #replaceEndpoints(given: ClusterEndpoints): void {
    const present = new Set<string>();
    for (const endpoint of given.endpoints) {
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
  }

  /** Undefined when the cluster has no such port or subset. */
  find(port: number, subset: string): EndpointSet | undefined {
    return this.#sets.get(setKey(port, subset));
  }

  /** Undefined when no endpoint may take anything now. */
  pick(set: EndpointSet, { avoid, hash, session }: PickOptions = {}): EndpointRuntime | undefined {
    const { endpoints, policy } = set;
    const nowMs = this.#deps.nowMs();
    let usable = withoutEjected(endpoints, policy.outlierDetection, nowMs);
    const own = session === undefined ? undefined : usable.find(({ endpoint }) => endpoint.uid === session);
    if (own && !avoid?.has(own)) return own;
    if (hash !== undefined) {
      const found = this.#tableOf(set)?.(hash, (index) => usable.includes(endpoints[index] as EndpointRuntime)); // in it
      if (found !== undefined) return endpoints[found];
    }
    if (avoid && avoid.size > 0) {
      const fresh = usable.filter((one) => !avoid.has(one));
      if (fresh.length > 0) usable = fresh;
    }
    this.#turn += 1;
    const context = { random: this.#deps.random, turn: this.#turn, nowMs };
    return pickEndpoint(usable, policy.loadBalancer, context);
  }

  /** Tells what became of a try: endpoints that fail are set aside. */
  note({ endpoints, policy: { outlierDetection: policy } }: EndpointSet, endpoint: EndpointRuntime, result: TryResult) {
    if (policy) noteResult(endpoint, result, { policy, all: endpoints, nowMs: this.#deps.nowMs() });
  }

  /**
   * The endpoint that a client names itself: by address where the service passes addresses through, by host where it is
   * a wildcard and the host fits. Undefined for all others.
   */
  named(host: string, ip: string): EndpointRuntime | undefined {
    const { resolution, hostname, ports } = this.#cluster;
    const isHost = resolution === 'DYNAMIC_DNS';
    if (!isHost && resolution !== 'NONE') return undefined;
    if (isHost && hostFit(hostname, host) < 0) return undefined;
    const key = isHost ? host : ip;
    const known = this.#dynamic.get(key);
    if (known) return known;
    if (this.#dynamic.size >= DYNAMIC_MAX) {
      for (const [old, runtime] of this.#dynamic) {
        runtime.close();
        this.#dynamic.delete(old);
        break;
      }
    }
    const place = isHost ? { hostname: host } : { addresses: [ip] };
    const same = ports.map(({ port }) => ({ servicePort: port, targetPort: port }));
    const runtime = new EndpointRuntime(
      { ...UNKNOWN_ENDPOINT, ...place, uid: key, ports: same },
      this.#deps.dialer,
      this.#deps.nowMs(),
    );
    this.#dynamic.set(key, runtime);
    return runtime;
  }

  /** The endpoint that has an address. */
  findByAddress(ip: string): EndpointRuntime | undefined {
    for (const one of this.#byUid.values()) if (one.endpoint.addresses.includes(ip)) return one;
    return undefined;
  }

  close(): void {
    for (const runtime of this.#byUid.values()) runtime.close();
    for (const runtime of this.#dynamic.values()) runtime.close();
    this.#byUid.clear();
    this.#dynamic.clear();
    this.#sets.clear();
  }

  #loadOf(port: number, subset: string): ClusterLoad {
    const key = setKey(port, subset);
    const load = this.#loads.get(key) ?? new ClusterLoad();
    this.#loads.set(key, load);
    return load;
  }

  /** Built when it is asked for first. */
  #tableOf(set: EndpointSet): HashTable | undefined {
    const { algorithm, tableSize } = set.policy.loadBalancer;
    if (algorithm !== 'RING_HASH' && algorithm !== 'MAGLEV') return undefined;
    const known = this.#tables.get(set);
    if (known) return known;
    const endpoints = set.endpoints.map(({ endpoint }) => ({ key: endpoint.uid, weight: endpoint.weight }));
    const table = algorithm === 'MAGLEV' ? maglevTable(endpoints, tableSize) : ringTable(endpoints, tableSize);
    this.#tables.set(set, table);
    return table;
  }

  #compileSets(): Map<string, EndpointSet> {
    const cluster = this.#cluster;
    const all = [...this.#byUid.values()].filter(({ endpoint }) => endpoint.healthy && endpoint.weight > 0);
    const sets = new Map<string, EndpointSet>();
    for (const port of cluster.ports) {
      const endpoints = all.filter((one) => one.targetPort(port.port) !== undefined);
      const policy = port.policy ?? DEFAULT_TRAFFIC_POLICY;
      sets.set(setKey(port.port, ''), { cluster, port, policy, endpoints, load: this.#loadOf(port.port, '') });
      for (const subset of port.subsets) {
        const labels = Object.entries(subset.labels);
        const own = endpoints.filter(({ endpoint }) => labels.every(([key, value]) => endpoint.labels[key] === value));
        const load = this.#loadOf(port.port, subset.name);
        sets.set(setKey(port.port, subset.name), { cluster, port, policy: subset.policy, endpoints: own, load });
      }
    }
    return sets;
  }
}

/** Hosts of a wildcard, or addresses passed through, whose connections are kept. */
const DYNAMIC_MAX = 1_024;
const UNKNOWN_ENDPOINT: WaypointEndpoint = {
  ...{ uid: '', name: '', namespace: '', workloadName: '', canonicalName: '', canonicalRevision: '' },
  ...{ addresses: [], hostname: '', network: '', clusterId: '', node: '', hbone: false, identity: '' },
  locality: { region: '', zone: '', subzone: '' },
  ...{ ports: [], labels: {}, healthy: true, weight: 1, policies: [] },
};

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

/**
 * Workloads by uid, by address, by host name and by pod name.
 *
 * Invariants
 *  - Every index holds exactly the workloads of the primary one; HOST_NETWORK workloads are never indexed by address.
 *  - Of several owners of one address the preferred one is a pod, then one with HBONE, then the earliest.
 */
import type { Workload } from '../../model/workload.ts';

/** What the node agent knows of a pod. */
export interface PodInfo {
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** How long its connections may go on when it is not served any more; absent: the tunnel's default. */
  readonly drainMs?: number;
}

export class WorkloadIndex {
  readonly #byUid = new Map<string, Workload>();
  readonly #byAddress = new Map<string, readonly Workload[]>();
  readonly #byHostname = new Map<string, readonly Workload[]>();
  readonly #byPod = new Map<string, readonly Workload[]>();

  get size(): number {
    return this.#byUid.size;
  }

  all(): Iterable<Workload> {
    return this.#byUid.values();
  }

  find(uid: string): Workload | undefined {
    return this.#byUid.get(uid);
  }

  findByAddress(network: string, ip: string): Workload | undefined {
    return this.#byAddress.get(addressKey(network, ip))?.[0];
  }

  findByHostname(namespace: string, hostname: string): Workload | undefined {
    return this.#byHostname.get(`${namespace}/${hostname}`)?.[0];
  }

  /** The workload of a pod on `node`; every node counts when `node` is undefined. */
  findLocal(pod: PodInfo, node: string | undefined): Workload | undefined {
    return this.#byPod.get(podKey(pod))?.find((workload) => node === undefined || workload.node === node);
  }

  /** Replaces the workload with the same uid; returns the one replaced. */
  insert(workload: Workload): Workload | undefined {
    const previous = this.remove(workload.uid);
    this.#byUid.set(workload.uid, workload);
    for (const [index, key] of this.#keys(workload)) {
      const others = index.get(key) ?? [];
      index.set(
        key,
        [...others, workload].sort((a, b) => addressScore(b) - addressScore(a)),
      );
    }
    return previous;
  }

  remove(uid: string): Workload | undefined {
    const workload = this.#byUid.get(uid);
    if (!workload) return undefined;
    this.#byUid.delete(uid);
    for (const [index, key] of this.#keys(workload)) {
      const others = (index.get(key) ?? []).filter((other) => other.uid !== uid);
      if (others.length > 0) index.set(key, others);
      else index.delete(key);
    }
    return workload;
  }

  *#keys(workload: Workload): Generator<readonly [Map<string, readonly Workload[]>, string]> {
    if (workload.networkMode !== 'HOST_NETWORK') {
      for (const ip of new Set(workload.addresses)) yield [this.#byAddress, addressKey(workload.network, ip)];
    }
    if (workload.hostname !== '') yield [this.#byHostname, `${workload.namespace}/${workload.hostname}`];
    yield [this.#byPod, podKey(workload)];
  }
}

/** A pod beats other kinds, HBONE beats plain. */
function addressScore(workload: Workload): number {
  return (workload.uid.includes('//Pod/') ? 2 : 0) + (workload.tunnelProtocol === 'HBONE' ? 1 : 0);
}

function addressKey(network: string, ip: string): string {
  return `${network}/${ip}`;
}

function podKey({ namespace, name, serviceAccount }: PodInfo): string {
  return `${namespace}/${name}/${serviceAccount}`;
}

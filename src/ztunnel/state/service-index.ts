/**
 * Services by key, host name, VIP and block of VIPs, and the endpoints of each service.
 *
 * Invariants
 *  - Endpoints are a function of the workloads alone: those of a service that is not known yet wait here ("staged"),
 *    so that services and workloads may come in any order.
 *  - Health is judged at lookup: an unhealthy endpoint is left out unless its service allows all.
 */
import { compileRange, ipFamily, parseIp } from '../../model/ip.ts';
import type { Endpoint, VipRangeMatch } from '../../model/mesh-view.ts';
import { type Service, type ServiceAddress, serviceKey } from '../../model/service.ts';
import type { Workload } from '../../model/workload.ts';

const NO_ENDPOINTS: ReadonlyMap<string, Endpoint> = new Map();

interface RangeTable {
  readonly family: 4 | 6;
  readonly prefixLength: number;
  /** By network and the address without its host bits. */
  readonly services: Map<string, readonly Service[]>;
}

export class ServiceIndex {
  readonly #byKey = new Map<string, Service>();
  readonly #byHostname = new Map<string, readonly Service[]>();
  readonly #byVip = new Map<string, readonly Service[]>();
  readonly #ranges = new Map<string, RangeTable>();
  readonly #endpoints = new Map<string, Map<string, Endpoint>>();

  get size(): number {
    return this.#byKey.size;
  }

  all(): Iterable<Service> {
    return this.#byKey.values();
  }

  find(key: string): Service | undefined {
    return this.#byKey.get(key);
  }

  byHostname(hostname: string): readonly Service[] {
    return this.#byHostname.get(hostname) ?? [];
  }

  byVip(network: string, ip: string): readonly Service[] {
    return this.#byVip.get(`${network}/${ip}`) ?? [];
  }

  byVipRange(network: string, ip: string): readonly VipRangeMatch[] {
    const address = parseIp(ip);
    if (!address || this.#ranges.size === 0) return [];
    const longest = new Map<Service, number>();
    for (const { family, prefixLength, services } of this.#ranges.values()) {
      if (family !== address.family) continue;
      const block = address.value >> BigInt((family === 4 ? 32 : 128) - prefixLength);
      for (const service of services.get(`${network}/${block}`) ?? []) {
        longest.set(service, Math.max(prefixLength, longest.get(service) ?? 0));
      }
    }
    return Array.from(longest, ([service, prefixLength]) => ({ service, prefixLength }));
  }

  /** Endpoints that may take traffic. */
  *healthyEndpoints(key: string): Generator<Endpoint> {
    const allowAll = this.#byKey.get(key)?.loadBalancing.healthPolicy === 'ALLOW_ALL';
    for (const endpoint of this.endpoints(key).values()) {
      if (allowAll || endpoint.status === 'HEALTHY') yield endpoint;
    }
  }

  /** Every endpoint, whatever its health, also of services that are not known. */
  endpoints(key: string): ReadonlyMap<string, Endpoint> {
    return this.#endpoints.get(key) ?? NO_ENDPOINTS;
  }

  /** Keys of services that have endpoints and are not known. */
  *stagedKeys(): Generator<string> {
    for (const key of this.#endpoints.keys()) if (!this.#byKey.has(key)) yield key;
  }

  insert(service: Service): void {
    const key = serviceKey(service);
    this.remove(key);
    this.#byKey.set(key, service);
    append(this.#byHostname, service.hostname, service);
    for (const address of service.addresses) this.#insertAddress(service, address);
  }

  remove(key: string): Service | undefined {
    const service = this.#byKey.get(key);
    if (!service) return undefined;
    this.#byKey.delete(key);
    withdraw(this.#byHostname, service.hostname, service);
    for (const address of service.addresses) this.#removeAddress(service, address);
    return service;
  }

  addEndpoints(workload: Workload): void {
    for (const [key, ports] of workload.services) {
      const endpoints = this.#endpoints.get(key) ?? new Map<string, Endpoint>();
      endpoints.set(workload.uid, { workloadUid: workload.uid, ports, status: workload.status });
      this.#endpoints.set(key, endpoints);
    }
  }

  removeEndpoints(workload: Workload): void {
    for (const key of workload.services.keys()) {
      const endpoints = this.#endpoints.get(key);
      endpoints?.delete(workload.uid);
      if (endpoints?.size === 0) this.#endpoints.delete(key);
    }
  }

  #insertAddress(service: Service, { network, range }: ServiceAddress): void {
    if (isWhole(range)) {
      append(this.#byVip, `${network}/${range.ip}`, service);
      return;
    }
    const block = compileRange(range);
    if (!block) return;
    const name = `${block.family}/${range.prefixLength}`;
    const table = this.#ranges.get(name) ?? {
      family: block.family,
      prefixLength: range.prefixLength,
      services: new Map(),
    };
    append(table.services, `${network}/${block.base}`, service);
    this.#ranges.set(name, table);
  }

  #removeAddress(service: Service, { network, range }: ServiceAddress): void {
    if (isWhole(range)) {
      withdraw(this.#byVip, `${network}/${range.ip}`, service);
      return;
    }
    const block = compileRange(range);
    const name = block && `${block.family}/${range.prefixLength}`;
    const table = name === undefined ? undefined : this.#ranges.get(name);
    if (!block || !table || name === undefined) return;
    withdraw(table.services, `${network}/${block.base}`, service);
    if (table.services.size === 0) this.#ranges.delete(name);
  }
}

/** Whether a VIP is one address and not a block. */
export function isWhole({ ip, prefixLength }: ServiceAddress['range']): boolean {
  return prefixLength === (ipFamily(ip) === 4 ? 32 : 128);
}

function append(index: Map<string, readonly Service[]>, key: string, service: Service): void {
  const others = index.get(key) ?? [];
  if (!others.includes(service)) index.set(key, [...others, service]);
}

function withdraw(index: Map<string, readonly Service[]>, key: string, service: Service): void {
  const others = (index.get(key) ?? []).filter((other) => other !== service);
  if (others.length > 0) index.set(key, others);
  else index.delete(key);
}

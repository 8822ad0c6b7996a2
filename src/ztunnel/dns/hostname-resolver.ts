/**
 * Addresses of workloads that are known by host name only, by the tunnel's own resolver.
 *
 * Guarantees: at most `CACHE_MAX` names are remembered, each for the time its records allow; one query per name at a time.
 * Source: Istio ztunnel behaviour, on-demand DNS.
 */
import { Resolver } from 'node:dns/promises';
import { LRUCache } from 'lru-cache';
import { Counter } from 'prom-client';
import { MeshError } from '../../core/errors.ts';
import type { MetricsRegistry } from '../../core/metrics.ts';
import { canonicalIp, ipFamily } from '../../model/ip.ts';
import type { Random } from '../../model/upstream.ts';
import type { Workload } from '../../model/workload.ts';

const CACHE_MAX = 4_096;
const TTL_MAX_S = 3_600;

export interface AddressRecord {
  readonly address: string;
  readonly ttl: number;
}

/** Asks for A (4) or AAAA (6) records. */
export type LookupRecords = (hostname: string, family: 4 | 6) => Promise<readonly AddressRecord[]>;

export interface HostnameResolverDeps {
  readonly lookup: LookupRecords;
  readonly random: Random;
  readonly ipv6: boolean;
  readonly registry: MetricsRegistry;
}

const LABELS = [
  'source_workload',
  'source_canonical_service',
  'source_canonical_revision',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
  'hostname',
] as const;

/** The system's resolver, as of now. */
export function systemLookup(): LookupRecords {
  const resolver = new Resolver({ timeout: 2_500, tries: 2 });
  return (hostname, family) =>
    family === 4 ? resolver.resolve4(hostname, { ttl: true }) : resolver.resolve6(hostname, { ttl: true });
}

export class HostnameResolver {
  readonly #deps: HostnameResolverDeps;
  readonly #cache = new LRUCache<string, Promise<readonly string[]>>({ max: CACHE_MAX });
  readonly #resolutions: Counter<(typeof LABELS)[number]>;

  constructor(deps: HostnameResolverDeps) {
    this.#deps = deps;
    this.#resolutions = new Counter({
      name: 'istio_on_demand_dns_total',
      help: 'The total number of requests that used on-demand DNS (unstable).',
      labelNames: LABELS,
      registers: [deps.registry],
    });
  }

  /** One address at random, of the asked family if there is one. Rejects with ERR_NOT_FOUND. */
  async resolve(target: Workload, family: 4 | 6, source: Workload): Promise<string> {
    this.#count(source, target.hostname);
    const all = await this.#lookup(target);
    const same = all.filter((ip) => ipFamily(ip) === family);
    const candidates = same.length > 0 ? same : all;
    const ip = candidates[Math.floor(this.#deps.random() * candidates.length)];
    if (ip !== undefined) return ip;
    throw new MeshError(
      'ERR_NOT_FOUND',
      `ip addresses were resolved for workload ${target.uid}, but valid dns response had no A/AAAA records`,
    );
  }

  #lookup(target: Workload): Promise<readonly string[]> {
    const { hostname } = target;
    const known = this.#cache.get(hostname);
    if (known) return known;
    const found = this.#ask(target);
    this.#cache.set(hostname, found);
    found.catch(() => this.#cache.delete(hostname));
    return found;
  }

  async #ask({ hostname, uid }: Workload): Promise<readonly string[]> {
    const { lookup, ipv6 } = this.#deps;
    const answers = await Promise.allSettled([lookup(hostname, 4), ipv6 ? lookup(hostname, 6) : Promise.resolve([])]);
    const records = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (records.length === 0) {
      throw new MeshError('ERR_NOT_FOUND', `no ip addresses were resolved for workload: ${uid}`);
    }
    const ttlS = Math.min(TTL_MAX_S, ...records.map(({ ttl }) => ttl));
    const current = this.#cache.get(hostname);
    if (current) this.#cache.set(hostname, current, { ttl: Math.max(1, ttlS * 1_000) });
    return records.flatMap(({ address }) => canonicalIp(address) ?? []);
  }

  #count(source: Workload, hostname: string): void {
    this.#resolutions.inc({
      source_workload: source.workloadName || 'unknown',
      source_canonical_service: source.canonicalName || 'unknown',
      source_canonical_revision: source.canonicalRevision || 'unknown',
      source_workload_namespace: source.namespace || 'unknown',
      source_principal: 'unknown',
      source_app: source.canonicalName || 'unknown',
      source_version: source.canonicalRevision || 'unknown',
      source_cluster: source.clusterId || 'unknown',
      hostname,
    });
  }
}

/**
 * Answers A and AAAA queries of a pod from what the mesh knows; everything else is to be forwarded.
 *
 * Guarantees: pure; names of services that the pod may not see are never answered; a known service without addresses of
 * the asked family gets an empty answer and is not forwarded.
 * Source: Istio ztunnel behaviour, DNS proxy.
 */
import { ipFamily } from '../../model/ip.ts';
import type { MeshView } from '../../model/mesh-view.ts';
import { type Service, serviceKey } from '../../model/service.ts';
import { findServiceByHostname } from '../../model/service-lookup.ts';
import { allowsFamily, type Random } from '../../model/upstream.ts';
import type { Workload } from '../../model/workload.ts';
import { type DnsRecord, TYPE_A, TYPE_AAAA, TYPE_CNAME } from './dns-message.ts';
import { type Alias, aliasesOf, hasDomain, wildcardsOf } from './dns-name.ts';

export interface ResolveOptions {
  readonly clusterDomain: string;
  readonly searchDomains: readonly string[];
  readonly preferredNamespace: string | undefined;
  readonly ipv6: boolean;
}

export type Resolution =
  | { readonly kind: 'answer'; readonly records: readonly DnsRecord[]; readonly service: string }
  | { readonly kind: 'forward' };

const TTL_S = 30;

export function resolveName(
  view: MeshView,
  query: { readonly name: string; readonly type: number; readonly client: Workload },
  options: ResolveOptions,
  random: Random,
): Resolution {
  const { name, type, client } = query;
  if (type !== TYPE_A && type !== TYPE_AAAA) return { kind: 'forward' };
  const found = findNamedService(view, name, client, options);
  if (!found) return { kind: 'forward' };
  const { service, alias, isWildcard } = found;
  const family = type === TYPE_A ? 4 : 6;
  const all = family === 6 && !options.ipv6 ? [] : serviceIps(view, service, client);
  const ips = all.filter((ip) => ipFamily(ip) === family && allowsFamily(service, family));
  const hostname = service.hostname;
  if (ips.length === 0) return { kind: 'answer', records: [], service: hostname };
  const renamed = isWildcard ? undefined : alias.stripped;
  const owner = renamed ?? name;
  const records: DnsRecord[] = shuffled(ips, random).map((data) => ({ name: owner, type, ttl: TTL_S, data }));
  if (renamed !== undefined) records.unshift({ name, type: TYPE_CNAME, ttl: TTL_S, data: renamed });
  return { kind: 'answer', records, service: hostname };
}

interface NamedService {
  readonly service: Service;
  readonly alias: Alias;
  readonly isWildcard: boolean;
}

function findNamedService(
  view: MeshView,
  name: string,
  client: Workload,
  options: ResolveOptions,
): NamedService | undefined {
  const { clusterDomain, searchDomains, preferredNamespace } = options;
  const { namespace } = client;
  for (const alias of aliasesOf(name, { namespace, clusterDomain, searchDomains })) {
    for (const hostname of wildcardsOf(alias.name)) {
      const service = findServiceByHostname(view, hostname, { namespace, preferredNamespace });
      if (!service) continue;
      const isHeadless = service.addresses.length === 0;
      if (isHeadless && !hasDomain(service.hostname, `svc.${clusterDomain}`)) continue;
      return { service, alias, isWildcard: hostname !== alias.name };
    }
  }
  return undefined;
}

/** VIPs of the client's network, without blocks; one address per endpoint and family for headless services. */
function serviceIps(view: MeshView, service: Service, client: Workload): readonly string[] {
  if (service.addresses.length > 0) {
    return service.addresses
      .filter(({ network, range }) => network === client.network && range.prefixLength === fullLength(range.ip))
      .map(({ range }) => range.ip);
  }
  const found: string[] = [];
  for (const { workloadUid } of view.endpoints(serviceKey(service))) {
    const workload = view.findWorkload(workloadUid);
    if (!workload) continue;
    for (const family of [4, 6] as const) {
      const ip = workload.addresses.find((address) => ipFamily(address) === family);
      if (ip !== undefined) found.push(ip);
    }
  }
  return found;
}

function fullLength(ip: string): number {
  return ipFamily(ip) === 4 ? 32 : 128;
}

function shuffled(ips: readonly string[], random: Random): string[] {
  const result = [...ips];
  for (let last = result.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [result[last], result[other]] = [result[other] as string, result[last] as string]; // both are within the array
  }
  return result;
}

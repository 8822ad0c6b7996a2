/**
 * From a destination address or host name to one workload and port. Pure over a MeshView; randomness is passed in.
 * Service VIPs come before workload addresses; visibility and canonical rules are those of `service-lookup.ts`.
 */
import type { IpPort } from './address.ts';
import { identityUri, parseIdentity } from './identity.ts';
import { ipFamily } from './ip.ts';
import { candidates, findTargetPort, type PortRule, pickWeighted, selectByPreference } from './load-balancing.ts';
import type { MeshView } from './mesh-view.ts';
import type { Service } from './service.ts';
import { findServiceByVip } from './service-lookup.ts';
import type { Workload } from './workload.ts';

/** In [0, 1), a new one each call. */
export interface Random {
  (): number;
  /** Draws in place of a number: for who wants to see everything that could be drawn. */
  readonly pick?: <T>(items: readonly T[], weight: (item: T) => number) => T | undefined;
}

/** One of `items` in proportion to its weight; undefined when none has any. */
export function draw<T>(items: readonly T[], weight: (item: T) => number, random: Random): T | undefined {
  return random.pick ? random.pick(items, weight) : pickWeighted(items, weight, random());
}

/** A chosen workload, the port to reach there, and the service through which it was found. */
export interface Upstream {
  readonly workload: Workload;
  readonly port: number;
  readonly service: Service | undefined;
}

export interface UpstreamQuery {
  /** On whose behalf; its namespace and network decide what is visible. */
  readonly source: Workload;
  readonly network: string;
  readonly to: IpPort;
  readonly rule: PortRule;
}

/** Undefined when nothing has the address, or its service has no endpoint for the port, or is PASSTHROUGH. */
export function findUpstream(view: MeshView, query: UpstreamQuery, random: Random): Upstream | undefined {
  const { network, source, to } = query;
  const service = findServiceByVip(view, { network, ip: to.ip }, { namespace: source.namespace });
  if (service) return findServiceUpstream(view, service, { ...query, port: to.port }, random);
  const workload = view.findWorkloadByAddress(network, to.ip);
  return workload && { workload, port: to.port, service: undefined };
}

/** Load balances over the endpoints of one service. */
export function findServiceUpstream(
  view: MeshView,
  service: Service,
  query: { readonly source: Workload; readonly port: number; readonly rule: PortRule },
  random: Random,
): Upstream | undefined {
  const { source, port: servicePort, rule } = query;
  if (service.loadBalancing.mode === 'PASSTHROUGH') return undefined;
  const able = candidates(view, service, { source, servicePort, rule });
  const preferred = selectByPreference(able, service.loadBalancing, source);
  const chosen = draw(preferred, ({ workload }) => workload.capacity, random);
  if (!chosen) return undefined;
  const { endpoint, workload } = chosen;
  const tunnelled = (workload.applicationTunnel?.port ?? 0) > 0 ? servicePort : undefined;
  const port = endpoint.ports.get(servicePort) || findTargetPort(service, servicePort) || tunnelled;
  return port === undefined ? undefined : { workload, port, service };
}

/** SPIFFE ids that a server found as `upstream` may present. Names that are no SPIFFE identity are left out. */
export function expectedIdentities({ workload, service }: Pick<Upstream, 'workload' | 'service'>): string[] {
  const own = identityUri(workload);
  return [...new Set([own, ...serviceIdentities(service)])];
}

/** The extra identities of a service alone. */
export function serviceIdentities(service: Service | undefined): string[] {
  return (service?.subjectAltNames ?? []).filter((name) => parseIdentity(name) !== undefined);
}

/** How a chosen workload is reached. */
export type AddressChoice =
  | { readonly kind: 'ip'; readonly ip: string }
  /** Only a host name is known: resolve it, preferring `family`. */
  | { readonly kind: 'resolve'; readonly hostname: string; readonly family: 4 | 6 }
  /** Only reachable through its network gateway. */
  | { readonly kind: 'gateway' }
  | { readonly kind: 'none' };

/** The requested IP when it is one of the workload's, else one that fits the service's families, the request's first. */
export function chooseAddress({ workload, service }: Upstream, requestedIp: string): AddressChoice {
  if (workload.addresses.includes(requestedIp)) return { kind: 'ip', ip: requestedIp };
  const family = ipFamily(requestedIp);
  const allowed = workload.addresses.filter((ip) => allowsFamily(service, ipFamily(ip)));
  const ip = allowed.find((candidate) => ipFamily(candidate) === family) ?? allowed[0];
  if (ip !== undefined) return { kind: 'ip', ip };
  if (workload.hostname !== '') return { kind: 'resolve', hostname: workload.hostname, family };
  return workload.networkGateway ? { kind: 'gateway' } : { kind: 'none' };
}

export function allowsFamily(service: Pick<Service, 'ipFamilies'> | undefined, family: 4 | 6): boolean {
  if (service?.ipFamilies === 'IPV4_ONLY') return family === 4;
  if (service?.ipFamilies === 'IPV6_ONLY') return family === 6;
  return true;
}

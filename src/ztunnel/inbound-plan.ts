/**
 * What an inbound CONNECT stream may reach: the checks of the server side as a pure function, without policy.
 *
 * Guarantees
 *  - The application is always dialled at the pod the listener belongs to, never at the authority's address.
 *  - An authority of another address is accepted only from a pod that is the waypoint for it, or that has an
 *    application tunnel; illegal ports are refused whatever the authority says.
 * Source: Istio ztunnel behaviour, inbound; RFC 9113 section 8.5 (CONNECT).
 */
import type { HostPort, IpPort } from '../model/address.ts';
import { ipFamily, parseIpPort } from '../model/ip.ts';
import { findTargetPort } from '../model/load-balancing.ts';
import type { MeshView } from '../model/mesh-view.ts';
import { type Service, serviceKey } from '../model/service.ts';
import { findServiceByHostname } from '../model/service-lookup.ts';
import { findByAddress, gatewayWorkloads } from '../model/waypoint.ts';
import type { Workload } from '../model/workload.ts';
import { RECURSIVE_CALL } from './outbound-plan.ts';

export type Authority = ({ readonly kind: 'ip' } & IpPort) | ({ readonly kind: 'hostname' } & HostPort);

export type InboundPlan =
  | { readonly kind: 'refuse'; readonly status: number; readonly reason: string }
  | {
      readonly kind: 'connect';
      /** Judged by policy: the pod's address with the application's real port. */
      readonly upstream: IpPort;
      /** Destination to announce by PROXY protocol; absent: nothing is announced. */
      readonly announce: IpPort | undefined;
    };

/** Longest authority worth looking at: a host name of 253 octets and a port. */
const AUTHORITY_MAX = 260;

/** `ip:port`, `[ip]:port` or `host:port`; undefined for anything else. */
export function parseAuthority(text: string): Authority | undefined {
  if (text.length > AUTHORITY_MAX) return undefined;
  const address = parseIpPort(text);
  if (address) return { kind: 'ip', ...address };
  const found = /^([A-Za-z0-9_*]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?):(\d{1,5})$/.exec(text);
  const host = found?.[1];
  const port = Number(found?.[3]);
  if (host === undefined || port > 65_535 || /^[\d.]+$/.test(host)) return undefined;
  return { kind: 'hostname', host, port };
}

export interface InboundQuery {
  readonly authority: Authority;
  /** The pod whose listener accepted the session. */
  readonly local: Workload;
  /** Local address of the session: the pod's address that the peer dialled. */
  readonly localIp: string;
  /** The tunnel's own network. */
  readonly network: string;
  readonly illegalPorts: ReadonlySet<number>;
}

export function planInbound(view: MeshView, query: InboundQuery): InboundPlan {
  const { authority, local, localIp, illegalPorts } = query;
  if (!isForLocal(view, query)) return refuse(400, `ip mismatch: ${localIp} != ${authorityHost(authority)}`);
  const target = authority.kind === 'ip' ? { port: authority.port } : resolvePort(view, query, authority);
  if ('kind' in target) return target;
  if (illegalPorts.has(target.port)) return refuse(503, RECURSIVE_CALL);
  const tunnel = local.applicationTunnel;
  const upstream = { ip: localIp, port: tunnel && tunnel.port > 0 ? tunnel.port : target.port };
  if (tunnel?.protocol !== 'PROXY') return { kind: 'connect', upstream, announce: undefined };
  if (authority.kind === 'ip') {
    return { kind: 'connect', upstream, announce: { ip: authority.ip, port: authority.port } };
  }
  const ip = findOneVip(target.service, query.network);
  if (ip === undefined) return refuse(503, `requested service ${authority.host} found, but has no IP addresses`);
  return { kind: 'connect', upstream, announce: { ip, port: authority.port } };
}

/** The first service of `local` that was meant: by the host name the client announced, else by the port. */
export function guessService(
  view: MeshView,
  local: Workload,
  { forwardedHost, port }: { readonly forwardedHost: string | undefined; readonly port: number },
): Service | undefined {
  let byPort: string | undefined;
  for (const [key, ports] of local.services) {
    if (forwardedHost !== undefined && key.slice(key.indexOf('/') + 1) === forwardedHost) return view.findService(key);
    if (byPort === undefined && [...ports.values()].includes(port)) byPort = key;
  }
  return byPort === undefined ? undefined : view.findService(byPort);
}

/** Whether the pod may answer for the authority. A host name is judged when its port is looked up. */
function isForLocal(view: MeshView, { authority, local, localIp, network }: InboundQuery): boolean {
  if (authority.kind === 'hostname' || authority.ip === localIp || local.applicationTunnel) return true;
  const owner = findByAddress(view, { network, ip: authority.ip }, undefined);
  if (!owner) return false;
  const references =
    owner.kind === 'workload'
      ? [owner.workload.waypoint]
      : [owner.service.waypoint, ...owner.service.weightedWaypoints.map(({ destination }) => destination)];
  for (const reference of references) {
    if (!reference) continue;
    for (const workload of gatewayWorkloads(view, reference)) {
      if (workload.uid === local.uid || workload.addresses.includes(localIp)) return true;
    }
  }
  return false;
}

type ResolvedPort = { readonly port: number; readonly service?: Service } | Extract<InboundPlan, { kind: 'refuse' }>;

function resolvePort(view: MeshView, { local }: InboundQuery, { host, port }: HostPort): ResolvedPort {
  const service = findServiceByHostname(view, host, { namespace: local.namespace });
  if (!service) {
    const isOwnName = view.findWorkloadByHostname(local.namespace, host)?.uid === local.uid;
    return isOwnName ? { port } : refuse(503, `no service or workload for hostname: ${host}`);
  }
  const endpoint = view.findEndpoint(serviceKey(service), local.uid);
  const mapped = endpoint?.ports.get(port) || findTargetPort(service, port);
  if (!mapped) return refuse(503, `requested service ${host}:${port} found, but cannot resolve port`);
  return { port: mapped, service };
}

/** One VIP, of the own network if possible, then IPv4 if possible. */
function findOneVip(service: Service | undefined, network: string): string | undefined {
  const all = service?.addresses ?? [];
  const own = all.filter((address) => address.network === network);
  const preferred = own.length > 0 ? own : all;
  return (preferred.find(({ range }) => ipFamily(range.ip) === 4) ?? preferred[0])?.range.ip;
}

function authorityHost(authority: Authority): string {
  return authority.kind === 'ip' ? authority.ip : authority.host;
}

function refuse(status: number, reason: string): Extract<InboundPlan, { kind: 'refuse' }> {
  return { kind: 'refuse', status, reason };
}

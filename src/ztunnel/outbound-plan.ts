/**
 * Where an outbound connection goes: the ordered rules of the node tunnel as a pure function.
 *
 * Guarantees
 *  - The first rule that applies decides; nothing is retried and there is no failover to another endpoint.
 *  - What the mesh knows to be a service is never sent in clear to its original destination, unless it is PASSTHROUGH.
 *  - Only the destination's waypoint matters; a connection of that waypoint itself goes to the workload directly.
 * Source: Istio ztunnel behaviour, outbound.
 */
import type { IpPort } from '../model/address.ts';
import { formatIpPort, isLoopback } from '../model/ip.ts';
import type { MeshView } from '../model/mesh-view.ts';
import { INBOUND_HBONE_PORT } from '../model/ports.ts';
import type { Service } from '../model/service.ts';
import {
  type AddressChoice,
  chooseAddress,
  expectedIdentities,
  findUpstream,
  type Random,
  serviceIdentities,
  type Upstream,
} from '../model/upstream.ts';
import {
  chooseWaypoint,
  describeGateway,
  findByAddress,
  findGateway,
  type GatewayKind,
  isFromGateway,
} from '../model/waypoint.ts';
import type { GatewayAddress, Workload } from '../model/workload.ts';

export const RECURSIVE_CALL = 'attempted recursive call to ourselves';

/** Where the next hop is; a host name still has to be resolved. */
export type HopAddress = Extract<AddressChoice, { readonly kind: 'ip' | 'resolve' }>;

export interface Hop {
  readonly address: HopAddress;
  readonly port: number;
  readonly workload: Workload;
}

/** `:authority` of the CONNECT: given, or the hop's own address with this port. */
export type AuthorityPlan = { readonly text: string } | { readonly hopPort: number };

export type OutboundPlan =
  | { readonly kind: 'refuse'; readonly reason: string }
  /** Nothing in the mesh has the destination: plain TCP to where the application wanted to go. */
  | { readonly kind: 'passthrough'; readonly to: IpPort }
  | { readonly kind: 'tcp'; readonly hop: Hop; readonly service: Service | undefined }
  | {
      readonly kind: 'hbone';
      readonly hop: Hop;
      readonly authority: AuthorityPlan;
      readonly expectedIdentities: readonly string[];
      /** The service the application meant, not that of a waypoint. */
      readonly service: Service | undefined;
    }
  | {
      readonly kind: 'double-hbone';
      readonly hop: Hop;
      readonly authority: AuthorityPlan;
      readonly expectedIdentities: readonly string[];
      readonly innerExpectedIdentities: readonly string[];
      readonly service: Service;
    };

export interface OutboundQuery {
  /** The workload whose listener accepted the connection. */
  readonly source: Workload;
  readonly sourceIp: string;
  readonly destination: IpPort;
  /** The tunnel's own network. */
  readonly network: string;
  readonly illegalPorts: ReadonlySet<number>;
}

export function planOutbound(view: MeshView, query: OutboundQuery, random: Random): OutboundPlan {
  const { source, destination, network } = query;
  if (isSelfCall(destination, query.illegalPorts)) return refuse(RECURSIVE_CALL);

  const addressed = findByAddress(view, { network, ip: destination.ip }, source.namespace);
  const service = addressed?.kind === 'service' ? addressed.service : undefined;
  if (service) {
    const waypoint = chooseWaypoint(service, random);
    if (waypoint) return planServiceWaypoint(view, query, { service, waypoint }, random);
  }

  const to = { source, network: source.network, to: destination, rule: 'standard' } as const;
  const upstream = findUpstream(view, to, random);
  if (!upstream) {
    if (service && service.loadBalancing.mode !== 'PASSTHROUGH') {
      return refuse(`no healthy upstream: ${formatIpPort(destination)}`);
    }
    return { kind: 'passthrough', to: destination };
  }
  if (upstream.workload.network !== source.network) return planGateway(view, query, { upstream, service }, random);
  if (!service) {
    const waypoint = planWorkloadWaypoint(view, query, upstream, random);
    if (waypoint) return waypoint;
  }
  return planDirect(upstream, destination);
}

/** An outbound connection to the tunnel's own listener would call itself without end. */
export function isSelfCall(destination: IpPort, illegalPorts: ReadonlySet<number>): boolean {
  return isLoopback(destination.ip) && illegalPorts.has(destination.port);
}

function planServiceWaypoint(
  view: MeshView,
  query: OutboundQuery,
  { service, waypoint }: { readonly service: Service; readonly waypoint: GatewayAddress },
  random: Random,
): OutboundPlan {
  const { source, destination } = query;
  const upstream = findGateway(view, waypoint, { source, kind: 'waypoint' }, random);
  if (!upstream) return refuse(unknownGateway('waypoint', waypoint));
  if (upstream.workload.network !== source.network) return planGateway(view, query, { upstream, service }, random);
  return planTunnel(upstream, {
    requestedIp: gatewayFamilyIp(waypoint, destination),
    authority: { text: formatIpPort(destination) },
    service,
  });
}

function planWorkloadWaypoint(
  view: MeshView,
  { source, sourceIp, destination }: OutboundQuery,
  { workload }: Upstream,
  random: Random,
): OutboundPlan | undefined {
  const { waypoint } = workload;
  if (!waypoint || isFromGateway(view, waypoint, { identity: source, ip: sourceIp })) return undefined;
  const upstream = findGateway(view, waypoint, { source, kind: 'waypoint' }, random);
  if (!upstream) return refuse(unknownGateway('waypoint', waypoint));
  return planTunnel(upstream, {
    requestedIp: gatewayFamilyIp(waypoint, destination),
    authority: { text: formatIpPort(destination) },
    service: undefined,
  });
}

/** `upstream` (an endpoint or a waypoint) is on another network: a tunnel to its gateway, and one inside to itself. */
function planGateway(
  view: MeshView,
  { source, destination }: OutboundQuery,
  { upstream, service }: { readonly upstream: Upstream; readonly service: Service | undefined },
  random: Random,
): OutboundPlan {
  const gateway = upstream.workload.networkGateway;
  if (!gateway) return refuse(noDestination(upstream.workload));
  if (!service) return refuse(`no service for target address: ${formatIpPort(destination)}`);
  const hop = findGateway(view, gateway, { source, kind: 'network gateway' }, random);
  if (!hop) return refuse(unknownGateway('network gateway', gateway));
  const outer = planTunnel(hop, {
    requestedIp: gatewayFamilyIp(gateway, destination),
    authority: { text: `${service.hostname}:${destination.port}` },
    service,
  });
  if (outer.kind !== 'hbone') return outer;
  return {
    ...outer,
    kind: 'double-hbone',
    innerExpectedIdentities: serviceIdentities(upstream.service),
    service,
  };
}

function planTunnel(
  upstream: Upstream,
  {
    requestedIp,
    authority,
    service,
  }: { readonly requestedIp: string; readonly authority: AuthorityPlan; readonly service: Service | undefined },
): OutboundPlan {
  const address = chooseAddress(upstream, requestedIp);
  if (address.kind === 'none' || address.kind === 'gateway') return refuse(noDestination(upstream.workload));
  const hop = { address, port: upstream.port, workload: upstream.workload };
  return { kind: 'hbone', hop, authority, expectedIdentities: expectedIdentities(upstream), service };
}

function planDirect(upstream: Upstream, destination: IpPort): OutboundPlan {
  const { workload, port, service } = upstream;
  const address = chooseAddress(upstream, destination.ip);
  if (address.kind === 'none' || address.kind === 'gateway') return refuse(noDestination(workload));
  if (workload.tunnelProtocol === 'NONE') return { kind: 'tcp', hop: { address, port, workload }, service };
  return {
    kind: 'hbone',
    hop: { address, port: INBOUND_HBONE_PORT, workload },
    authority: { hopPort: port },
    expectedIdentities: expectedIdentities(upstream),
    service,
  };
}

/** A gateway given by address is dialled in that address' family, one given by name in the request's. */
function gatewayFamilyIp({ destination }: GatewayAddress, requested: IpPort): string {
  return destination.kind === 'address' ? destination.ip : requested.ip;
}

function refuse(reason: string): OutboundPlan {
  return { kind: 'refuse', reason };
}

function unknownGateway(kind: GatewayKind, gateway: GatewayAddress): string {
  return `unknown ${kind}: ${kind} ${describeGateway(gateway)} not found`;
}

function noDestination({ name }: Workload): string {
  return `no valid routing destination for workload: ${name}`;
}

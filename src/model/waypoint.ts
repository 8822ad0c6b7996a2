/**
 * From a GatewayAddress to the workload that serves it, and the question whether a connection comes from that workload.
 * Pure over a MeshView; randomness is passed in.
 */
import type { NetworkAddress } from './address.ts';
import { type Identity, sameIdentity } from './identity.ts';
import type { MeshView } from './mesh-view.ts';
import { type Service, serviceKey } from './service.ts';
import { findServiceByVip } from './service-lookup.ts';
import { draw, findServiceUpstream, findUpstream, type Random, type Upstream } from './upstream.ts';
import type { GatewayAddress, Workload } from './workload.ts';

/** The waypoint of a service for one connection: weighted choice, or the plain one when all weights are 0. */
export function chooseWaypoint(service: Service, random: Random): GatewayAddress | undefined {
  return draw(service.weightedWaypoints, ({ weight }) => weight, random)?.destination ?? service.waypoint;
}

export type GatewayKind = 'waypoint' | 'network gateway';

/** One endpoint of a waypoint or network gateway; undefined when nothing serves the address. */
export function findGateway(
  view: MeshView,
  gateway: GatewayAddress,
  { source, kind }: { readonly source: Workload; readonly kind: GatewayKind },
  random: Random,
): Upstream | undefined {
  const rule = kind === 'waypoint' ? 'waypoint' : 'standard';
  const { destination, hboneMtlsPort: port } = gateway;
  if (destination.kind === 'address') {
    const to = { ip: destination.ip, port };
    return findUpstream(view, { source, network: destination.network, to, rule }, random);
  }
  const service = view.findService(serviceKey(destination));
  if (service) return findServiceUpstream(view, service, { source, port, rule }, random);
  const workload = view.findWorkloadByHostname(destination.namespace, destination.hostname);
  return workload && { workload, port, service: undefined };
}

/** The text of a gateway reference in errors. */
export function describeGateway({ destination, hboneMtlsPort }: GatewayAddress): string {
  const where =
    destination.kind === 'hostname'
      ? `Hostname(NamespacedHostname { namespace: ${JSON.stringify(destination.namespace)}, hostname: ${JSON.stringify(destination.hostname)} })`
      : `Address(NetworkAddress { network: ${JSON.stringify(destination.network)}, address: ${destination.ip} })`;
  return `GatewayAddress { destination: ${where}, hbone_mtls_port: ${hboneMtlsPort} }`;
}

/** The workloads behind a gateway reference: its owner, or every endpoint of its service. */
export function* gatewayWorkloads(view: MeshView, gateway: GatewayAddress): Generator<Workload> {
  const { destination } = gateway;
  if (destination.kind === 'address') {
    const owner = view.findWorkloadByAddress(destination.network, destination.ip);
    if (owner) yield owner;
    else yield* serviceWorkloads(view, findServiceByVip(view, destination, { namespace: undefined }));
    return;
  }
  const service = view.findService(serviceKey(destination));
  if (service) {
    yield* serviceWorkloads(view, service);
    return;
  }
  const workload = view.findWorkloadByHostname(destination.namespace, destination.hostname);
  if (workload) yield workload;
}

function* serviceWorkloads(view: MeshView, service: Service | undefined): Generator<Workload> {
  if (!service) return;
  for (const { workloadUid } of view.endpoints(serviceKey(service))) {
    const workload = view.findWorkload(workloadUid);
    if (workload) yield workload;
  }
}

/** Whether a connection of `identity` from `ip` comes from the gateway itself. */
export function isFromGateway(
  view: MeshView,
  gateway: GatewayAddress,
  from: { readonly identity: Identity; readonly ip: string },
): boolean {
  for (const workload of gatewayWorkloads(view, gateway)) {
    if (sameIdentity(workload, from.identity) && workload.addresses.includes(from.ip)) return true;
  }
  return false;
}

/** A workload or a service by address, workloads first. `clientNamespace` decides which services are visible. */
export function findByAddress(
  view: MeshView,
  { network, ip }: NetworkAddress,
  clientNamespace: string | undefined,
):
  | { readonly kind: 'workload'; readonly workload: Workload }
  | { readonly kind: 'service'; readonly service: Service }
  | undefined {
  const workload = view.findWorkloadByAddress(network, ip);
  if (workload) return { kind: 'workload', workload };
  const service = findServiceByVip(view, { network, ip }, { namespace: clientNamespace });
  return service && { kind: 'service', service };
}

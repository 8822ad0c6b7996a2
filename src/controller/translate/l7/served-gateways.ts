/**
 * The Gateways that this control plane runs, and the waypoints that objects mean by their labels, ready or not.
 * Source: Istio control plane (classes and their controllers).
 */
import { INBOUND_HBONE_PORT } from '../../../model/ports.ts';
import type { MeshSettings } from '../../mesh-settings.ts';
import { type Gateway, type GatewayClass, nameOf, namespaceOf } from '../../resources.ts';
import { toWaypoint, type Waypoint } from '../waypoint.ts';

export const WAYPOINT_CLASS = 'istio-waypoint';
const CONTROLLERS: ReadonlyMap<string, ServedGateway['kind']> = new Map([['istio.io/mesh-controller', 'WAYPOINT']]);
const CLASSES: ReadonlyMap<string, ServedGateway['kind']> = new Map([[WAYPOINT_CLASS, 'WAYPOINT']]);

export interface ServedGateway {
  readonly key: string;
  readonly kind: 'WAYPOINT' | 'INGRESS';
  readonly gateway: Gateway;
  /** As objects will be bound to it once it is ready; undefined for ingress gateways. */
  readonly waypoint: Waypoint | undefined;
}

export type ServedGateways = ReadonlyMap<string, ServedGateway>;

/** By `namespace/name`. A class object decides by its controller, a well-known name stands for itself. */
export function servedGateways(
  gateways: readonly Gateway[],
  classes: ReadonlyMap<string, GatewayClass>,
  { network, settings }: { readonly network: string; readonly settings: MeshSettings },
): ServedGateways {
  const served = new Map<string, ServedGateway>();
  for (const gateway of gateways) {
    const gatewayClass = classes.get(gateway.spec.gatewayClassName);
    const kind = gatewayClass
      ? CONTROLLERS.get(gatewayClass.spec?.controllerName ?? '')
      : CLASSES.get(gateway.spec.gatewayClassName);
    if (!kind || gateway.metadata.deletionTimestamp !== undefined) continue;
    const waypoint = kind === 'WAYPOINT' ? intendedWaypoint(gateway, gatewayClass, { network, settings }) : undefined;
    served.set(nameOf(gateway), { key: nameOf(gateway), kind, gateway, waypoint });
  }
  return served;
}

function intendedWaypoint(
  gateway: Gateway,
  gatewayClass: GatewayClass | undefined,
  { network, settings }: { readonly network: string; readonly settings: MeshSettings },
): Waypoint | undefined {
  const value = `${gateway.metadata.name}.${namespaceOf(gateway)}.svc.${settings.clusterDomain}`;
  const status = { ...gateway.status, addresses: [{ type: 'Hostname', value }] };
  const waypoint = toWaypoint({ ...gateway, status }, gatewayClass, network);
  return waypoint && { ...waypoint, address: { ...waypoint.address, hboneMtlsPort: INBOUND_HBONE_PORT } };
}

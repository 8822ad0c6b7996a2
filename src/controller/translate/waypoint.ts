/**
 * Waypoints, and which one an object is bound to.
 * Source: Istio control plane (a Gateway of any class with an address is a waypoint; labels `istio.io/use-waypoint`).
 */
import { canonicalIp } from '../../model/ip.ts';
import { INBOUND_HBONE_PORT } from '../../model/ports.ts';
import type { WeightedWaypoint } from '../../model/service.ts';
import type { ApplicationTunnel, GatewayAddress } from '../../model/workload.ts';
import type { ConditionValue } from '../ir.ts';
import { type Gateway, type GatewayClass, type Namespace, namespaceOf } from '../resources.ts';
import { type LabelSelector, type Labels, matchesSelector } from './selector.ts';

export type TrafficType = 'service' | 'workload' | 'all' | 'none';

export interface Waypoint {
  readonly namespace: string;
  readonly name: string;
  readonly address: GatewayAddress;
  readonly trafficType: TrafficType;
  readonly allowed: { readonly from: string; readonly selector: LabelSelector | undefined };
  readonly inboundBinding: ApplicationTunnel | undefined;
}

/** `namespace/name`. */
export function waypointKey({ namespace, name }: Waypoint): string {
  return `${namespace}/${name}`;
}

export type Waypoints = ReadonlyMap<string, Waypoint>;

export const USE_WAYPOINT = 'istio.io/use-waypoint';
export const GATEWAY_NAME = 'gateway.networking.k8s.io/gateway-name';
const WAYPOINT_FOR = 'istio.io/waypoint-for';
const INBOUND_BINDING = 'ambient.istio.io/waypoint-inbound-binding';
const CANARY = 'istio.io/use-waypoint-canary';

/** The waypoint that a Gateway is; undefined while it has no address. */
export function toWaypoint(
  gateway: Gateway,
  gatewayClass: GatewayClass | undefined,
  network: string,
): Waypoint | undefined {
  const address = gatewayAddress(gateway, network);
  if (!address) return undefined;
  const type = gateway.metadata.labels?.[WAYPOINT_FOR] ?? gatewayClass?.metadata.labels?.[WAYPOINT_FOR] ?? 'service';
  const binding =
    gateway.metadata.annotations?.[INBOUND_BINDING] ?? gatewayClass?.metadata.annotations?.[INBOUND_BINDING];
  const inboundBinding = parseBinding(binding);
  return {
    namespace: namespaceOf(gateway),
    name: gateway.metadata.name,
    address,
    trafficType: isTrafficType(type) ? type : 'none',
    allowed: allowedRoutes(gateway, inboundBinding),
    inboundBinding,
  };
}

function gatewayAddress(gateway: Gateway, network: string): GatewayAddress | undefined {
  const addresses = gateway.status?.addresses ?? [];
  const hostname = addresses.find(({ type }) => type === 'Hostname')?.value;
  if (hostname !== undefined) {
    const destination = { kind: 'hostname', namespace: namespaceOf(gateway), hostname } as const;
    return { destination, hboneMtlsPort: INBOUND_HBONE_PORT };
  }
  for (const { value } of addresses) {
    const ip = canonicalIp(value);
    if (ip !== undefined) return { destination: { kind: 'address', network, ip }, hboneMtlsPort: INBOUND_HBONE_PORT };
  }
  return undefined;
}

function isTrafficType(text: string): text is TrafficType {
  return text === 'service' || text === 'workload' || text === 'all' || text === 'none';
}

/** `PROTOCOL` or `PROTOCOL/port`. */
function parseBinding(text: string | undefined): ApplicationTunnel | undefined {
  const found = /^(NONE|PROXY)(?:\/(\d{1,5}))?$/.exec(text ?? '');
  if (!found) return undefined;
  const port = Number(found[2] ?? 0);
  return port > 65_535 ? undefined : { protocol: found[1] === 'PROXY' ? 'PROXY' : 'NONE', port };
}

function allowedRoutes(gateway: Gateway, binding: ApplicationTunnel | undefined): Waypoint['allowed'] {
  const listeners = gateway.spec.listeners ?? [];
  const bound =
    binding && listeners.find(({ port, protocol }) => port === binding.port || protocol === binding.protocol);
  const hbone = listeners.find(({ port, protocol }) => port === INBOUND_HBONE_PORT && protocol === 'HBONE');
  const namespaces = (bound ?? hbone)?.allowedRoutes?.namespaces;
  return { from: namespaces?.from ?? 'Same', selector: namespaces?.selector };
}

export interface WaypointSubject {
  readonly namespace: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly traffic: 'service' | 'workload';
}

export interface WaypointBinding {
  readonly waypoint: Waypoint | undefined;
  /** The waypoint of the second weight. */
  readonly canary: Waypoint | undefined;
  readonly weighted: readonly WeightedWaypoint[];
  readonly ingressUseWaypoint: boolean;
  /** None when no waypoint was asked for. */
  readonly condition: ConditionValue | undefined;
}

const UNBOUND: WaypointBinding = {
  waypoint: undefined,
  canary: undefined,
  weighted: [],
  ingressUseWaypoint: false,
  condition: undefined,
};

/** Total: a waypoint that cannot be used is a condition, never a fall-back to another one. */
export function bindWaypoint(
  subject: WaypointSubject,
  namespace: Namespace | undefined,
  waypoints: Waypoints,
): WaypointBinding {
  const managed = subject.labels['gateway.istio.io/managed'];
  if (managed === 'istio.io-mesh-controller' || managed === 'istio.io-eastwest-controller') return UNBOUND;
  const own = subject.labels[USE_WAYPOINT] !== undefined;
  const labels = own ? subject.labels : (namespace?.metadata.labels ?? {});
  const annotations = own ? subject.annotations : (namespace?.metadata.annotations ?? {});
  const wanted = labels[USE_WAYPOINT];
  if (wanted === undefined || wanted === '' || wanted === 'none') return UNBOUND;
  const key = `${labels['istio.io/use-waypoint-namespace'] ?? subject.namespace}/${wanted}`;
  const usable = findUsable(key, subject, { namespace, waypoints });
  if ('reason' in usable) {
    const inherited = !own && usable.reason === 'UnsupportedTrafficType' && subject.traffic === 'workload';
    return inherited ? UNBOUND : { ...UNBOUND, condition: { type: BOUND, status: 'False', ...usable } };
  }
  const canary = bindCanary(usable, { subject, labels, annotations, namespace, waypoints });
  const ingress = subject.labels[INGRESS_USE_WAYPOINT] ?? namespace?.metadata.labels?.[INGRESS_USE_WAYPOINT];
  const ingressUseWaypoint = subject.traffic === 'service' && ingress === 'true';
  const notes = `${ingressUseWaypoint ? ' (ingress traffic goes through it as well)' : ''}${canary.note}`;
  const message = `Successfully attached to waypoint ${key}${notes}`;
  return {
    waypoint: usable,
    canary: canary.waypoint,
    weighted: canary.weighted,
    ingressUseWaypoint,
    condition: { type: BOUND, status: 'True', reason: 'WaypointAccepted', message },
  };
}

const BOUND = 'istio.io/WaypointBound';
const INGRESS_USE_WAYPOINT = 'istio.io/ingress-use-waypoint';

interface Surroundings {
  readonly namespace: Namespace | undefined;
  readonly waypoints: Waypoints;
}

function findUsable(key: string, subject: WaypointSubject, { namespace, waypoints }: Surroundings) {
  const waypoint = waypoints.get(key);
  if (!waypoint) return { reason: 'WaypointIsNotReady', message: `waypoint ${key} is not ready` };
  if (!isAllowed(waypoint, subject.namespace, namespace)) {
    return { reason: 'AttachmentDenied', message: `waypoint ${key} does not allow namespace ${subject.namespace}` };
  }
  if (waypoint.trafficType !== 'all' && waypoint.trafficType !== subject.traffic) {
    const message = `waypoint ${key} does not take ${subject.traffic} traffic, but ${waypoint.trafficType}`;
    return { reason: 'UnsupportedTrafficType', message };
  }
  return waypoint;
}

function isAllowed({ namespace: home, allowed }: Waypoint, from: string, namespace: Namespace | undefined): boolean {
  if (allowed.from === 'All') return true;
  if (allowed.from === 'Selector') {
    return allowed.selector !== undefined && matchesSelector(allowed.selector, namespace?.metadata.labels ?? {});
  }
  return allowed.from === 'Same' && home === from;
}

function bindCanary(
  primary: Waypoint,
  given: Surroundings & { subject: WaypointSubject; labels: Labels; annotations: Labels },
): { waypoint: Waypoint | undefined; weighted: readonly WeightedWaypoint[]; note: string } {
  const { subject, labels, annotations } = given;
  const wanted = labels[CANARY];
  if (wanted === undefined || subject.traffic !== 'service') return { waypoint: undefined, weighted: [], note: '' };
  const failed = (reason: string) => ({ waypoint: undefined, weighted: [], note: `; canary not used: ${reason}` });
  const text = annotations[`${CANARY}-weight`] ?? '0';
  const weight = Number(text);
  if (!/^\d{1,3}$/.test(text) || weight > 100) return failed('CanaryInvalidWeight');
  const key = `${labels[`${CANARY}-namespace`] ?? subject.namespace}/${wanted}`;
  if (key === `${primary.namespace}/${primary.name}`) return failed('CanarySameAsPrimary');
  const canary = findUsable(key, subject, given);
  if ('reason' in canary) return failed(canary.reason);
  return {
    waypoint: canary,
    weighted: [
      { destination: primary.address, weight: 100 - weight },
      { destination: canary.address, weight },
    ],
    note: '',
  };
}

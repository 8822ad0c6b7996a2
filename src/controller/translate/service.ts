/** Service to the data plane's service. Source: Istio control plane. */
import type { KubeObject } from '../../kube/index.ts';
import { canonicalIp } from '../../model/ip.ts';
import type { LoadBalancing, Scope, Service } from '../../model/service.ts';
import type { MeshSettings } from '../mesh-settings.ts';
import { type KubeService, type Namespace, namespaceOf } from '../resources.ts';
import { appProtocolOf } from './app-protocol.ts';
import { usableWaypoints } from './l7/attachment.ts';
import type { ServedGateways } from './l7/served-gateways.ts';
import { requiresWaypoint } from './policy-scope.ts';
import type { Labels } from './selector.ts';
import type { ServiceInfo } from './service-info.ts';
import { bindWaypoint, type WaypointBinding, type Waypoints, waypointKey } from './waypoint.ts';

export interface ServiceSurroundings {
  readonly settings: MeshSettings;
  readonly network: string;
  readonly namespace: Namespace | undefined;
  /** Those that clients may be told of. */
  readonly waypoints: Waypoints;
  /** All that are served here, ready or not. */
  readonly served: ServedGateways;
  /** Gateways that have what they need for this object. */
  readonly attached: readonly string[];
}

/** The waypoint of an object as clients are told of it, and those it asks for. */
export function bindService(
  object: KubeObject,
  { namespace, waypoints, served, attached }: ServiceSurroundings,
): { readonly binding: WaypointBinding; readonly wanted: readonly string[] } {
  const { labels = {}, annotations = {} } = object.metadata;
  const subject = { namespace: namespaceOf(object), labels, annotations, traffic: 'service' } as const;
  const namespaceLabels = namespace?.metadata.labels ?? {};
  const usable = usableWaypoints(object, { waypoints, served, attached, namespaceLabels });
  const intended = new Map(waypoints);
  for (const [key, { waypoint }] of served) if (waypoint) intended.set(key, waypoint);
  const { waypoint, canary } = bindWaypoint(subject, namespace, intended);
  const wanted = [waypoint, canary].flatMap((one) => (one ? [waypointKey(one)] : []));
  return { binding: bindWaypoint(subject, namespace, usable), wanted };
}

const CLOSE: readonly Scope[] = ['NETWORK', 'REGION', 'ZONE'];
const SAME_NODE: readonly Scope[] = ['NETWORK', 'REGION', 'ZONE', 'SUBZONE', 'NODE'];
const TRAFFIC_DISTRIBUTION = 'networking.istio.io/traffic-distribution';

/** Undefined for ExternalName: such a service has no endpoints of its own. */
export function translateService(object: KubeService, around: ServiceSurroundings): ServiceInfo | undefined {
  const spec = object.spec ?? {};
  if (spec.type === 'ExternalName') return undefined;
  const namespace = namespaceOf(object);
  const { name } = object.metadata;
  const hostname = `${name}.${namespace}.svc.${around.settings.clusterDomain}`;
  const { binding, wanted } = bindService(object, around);
  const ports = spec.ports ?? [];
  const service: Service = {
    name,
    namespace,
    hostname,
    addresses: clusterIps(spec).map((ip) => ({
      network: around.network,
      range: { ip, prefixLength: ip.includes(':') ? 128 : 32 },
    })),
    ports: ports.map((port) => ({
      servicePort: port.port,
      targetPort: typeof port.targetPort === 'string' ? 0 : port.targetPort || port.port,
      appProtocol: appProtocolOf(port),
    })),
    subjectAltNames: [],
    waypoint: binding.waypoint?.address,
    weightedWaypoints: binding.weighted,
    loadBalancing: serviceLoadBalancing(object, around.namespace),
    ipFamilies: families(spec.ipFamilies ?? []),
    canonical: true,
    ingressUseWaypoint: binding.ingressUseWaypoint,
    visibility: 'PUBLIC',
  };
  const selector = spec.selector ?? {};
  const conditions = binding.condition ? [binding.condition] : [];
  return {
    key: `${namespace}/${hostname}`,
    origin: 'Service',
    service,
    selector: Object.keys(selector).length > 0 ? selector : undefined,
    ports: ports.map((port) => ({
      name: port.name ?? '',
      port: port.port,
      targetPort: port.targetPort === 0 ? undefined : port.targetPort,
    })),
    waypoint: binding.waypoint && waypointKey(binding.waypoint),
    wanted,
    requiresWaypoint: requiresWaypoint(object.metadata.labels, around.namespace?.metadata.labels),
    status: { kind: { group: '', kind: 'Service' }, key: { namespace, name }, conditions },
  };
}

function clusterIps({ clusterIP, clusterIPs }: NonNullable<KubeService['spec']>): string[] {
  const given = clusterIPs && clusterIPs.length > 0 ? clusterIPs : clusterIP === undefined ? [] : [clusterIP];
  return given.map(canonicalIp).filter((ip) => ip !== undefined);
}

function families(given: readonly ('IPv4' | 'IPv6')[]): Service['ipFamilies'] {
  if (given.length > 1) return 'DUAL';
  if (given.length === 0) return 'AUTOMATIC';
  return given[0] === 'IPv4' ? 'IPV4_ONLY' : 'IPV6_ONLY';
}

function serviceLoadBalancing(object: KubeService, namespace: Namespace | undefined): LoadBalancing {
  const spec = object.spec ?? {};
  const healthPolicy = spec.publishNotReadyAddresses ? 'ALLOW_ALL' : 'ONLY_HEALTHY';
  if (spec.internalTrafficPolicy === 'Local') return { mode: 'STRICT', routingPreference: ['NODE'], healthPolicy };
  const chosen =
    distribution(spec.trafficDistribution) ??
    annotatedDistribution(object.metadata.annotations ?? {}, namespace?.metadata.annotations ?? {});
  return { ...chosen, healthPolicy };
}

type Preference = Pick<LoadBalancing, 'mode' | 'routingPreference'>;
const ANY: Preference = { mode: 'UNSPECIFIED', routingPreference: [] };

/** The object's annotation, else its namespace's; a value nobody knows on the object means any endpoint. */
export function annotatedDistribution(own: Labels, namespace: Labels): Preference {
  const text = own[TRAFFIC_DISTRIBUTION] ?? namespace[TRAFFIC_DISTRIBUTION];
  return distribution(text) ?? ANY;
}

function distribution(text: string | undefined): Preference | undefined {
  switch (text?.toLowerCase()) {
    case undefined:
    case '':
      return undefined;
    case 'preferclose':
    case 'prefersamezone':
      return { mode: 'FAILOVER', routingPreference: CLOSE };
    case 'prefersamenode':
      return { mode: 'FAILOVER', routingPreference: SAME_NODE };
    default:
      return ANY;
  }
}

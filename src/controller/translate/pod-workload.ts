/** Pod to workload. Source: Istio control plane. */
import { canonicalIp } from '../../model/ip.ts';
import type { Locality, PortMap, Workload } from '../../model/workload.ts';
import type { MeshSettings } from '../mesh-settings.ts';
import { type KubeNode, type Namespace, namespaceOf, type Pod } from '../resources.ts';
import { peerAuthenticationKeys } from './peer-authentication.ts';
import { NO_WAYPOINT, type PolicyScope, requiresWaypoint, tunnelPolicyKeys, waypointUse } from './policy-scope.ts';
import { isSubset } from './selector.ts';
import type { ServiceInfo } from './service-info.ts';
import { bindWaypoint, GATEWAY_NAME, type Waypoints, waypointKey } from './waypoint.ts';
import { type WaypointAllows, waypointAllowKeys } from './waypoint-allow.ts';
import { workloadName } from './workload-name.ts';
import { canonicalNames, NO_LOCALITY, tunnelOf, withDefaults } from './workload-parts.ts';

/** What all pods of one namespace share. */
export interface NamespaceScope {
  readonly settings: MeshSettings;
  readonly network: string;
  readonly namespace: Namespace | undefined;
  readonly waypoints: Waypoints;
  readonly services: readonly ServiceInfo[];
  readonly policies: PolicyScope;
  readonly waypointAllows: WaypointAllows;
  /** Whether a Gateway is ours. */
  readonly isServed: (gateway: string) => boolean;
}

/** Undefined while a pod has no usable address, and once it has ended. */
export function translatePod(
  pod: Pod,
  scope: NamespaceScope,
  rest: { readonly locality: Locality; readonly listedBy: readonly ServiceInfo[] },
): Workload | undefined {
  const phase = pod.status?.phase;
  const addresses = podAddresses(pod);
  if (phase === 'Succeeded' || phase === 'Failed' || !addresses) return undefined;
  const { settings } = scope;
  const namespace = namespaceOf(pod);
  const { name, labels = {}, annotations = {} } = pod.metadata;
  const owner = workloadName(pod);
  const own = scope.waypoints.get(`${namespace}/${labels[GATEWAY_NAME] ?? ''}`);
  const isGateway = own !== undefined || scope.isServed(`${namespace}/${labels[GATEWAY_NAME] ?? ''}`);
  const subject = { namespace, labels, annotations, traffic: 'workload' } as const;
  const waypoint = own ? undefined : bindWaypoint(subject, scope.namespace, scope.waypoints).waypoint;
  const services = servicesOf(pod, scope.services, rest.listedBy);
  const use = isGateway
    ? NO_WAYPOINT
    : waypointUse(services, scope.isServed, {
        own: waypoint && waypointKey(waypoint),
        required: requiresWaypoint(labels, scope.namespace?.metadata.labels),
      });
  return withDefaults({
    uid: `${settings.clusterId}//Pod/${namespace}/${name}`,
    name,
    namespace,
    addresses,
    network: scope.network,
    ...tunnelOf(labels, annotations),
    ...canonicalNames(labels, owner),
    trustDomain: settings.trustDomain,
    serviceAccount: pod.spec?.serviceAccountName || 'default',
    waypoint: waypoint?.address,
    applicationTunnel: own?.inboundBinding,
    node: pod.spec?.nodeName ?? '',
    workloadType: 'POD',
    workloadName: owner,
    services: new Map(services.map((info) => [info.key, podPorts(pod, info)])),
    authorizationPolicies: [
      ...tunnelPolicyKeys(scope.policies, labels, use),
      ...peerAuthenticationKeys(scope.policies.peer, labels),
      ...(own ? [] : waypointAllowKeys(scope.waypointAllows, waypoint, services)),
    ].sort(),
    status: isReady(pod) ? 'HEALTHY' : 'UNHEALTHY',
    clusterId: settings.clusterId,
    locality: rest.locality,
    networkMode: pod.spec?.hostNetwork ? 'HOST_NETWORK' : 'STANDARD',
  });
}

export function nodeLocality(node: KubeNode | undefined): Locality {
  const labels = node?.metadata.labels;
  if (!labels) return NO_LOCALITY;
  return {
    region: labels['topology.kubernetes.io/region'] ?? '',
    zone: labels['topology.kubernetes.io/zone'] ?? '',
    subzone: labels['topology.istio.io/subzone'] ?? '',
  };
}

function isReady({ metadata, status }: Pod): boolean {
  if (metadata.deletionTimestamp !== undefined) return false;
  return (status?.conditions ?? []).some((condition) => condition.type === 'Ready' && condition.status === 'True');
}

/** Undefined when there is none, or one that cannot be read. */
function podAddresses({ status }: Pod): readonly string[] | undefined {
  const listed = (status?.podIPs ?? []).map(({ ip }) => ip);
  const given = listed.length > 0 ? listed : status?.podIP ? [status.podIP] : [];
  const addresses = given.map(canonicalIp);
  return addresses.length > 0 && addresses.every((ip) => ip !== undefined) ? addresses : undefined;
}

function servicesOf(
  pod: Pod,
  services: readonly ServiceInfo[],
  listedBy: readonly ServiceInfo[],
): readonly ServiceInfo[] {
  const labels = pod.metadata.labels ?? {};
  const selected = services.filter(({ selector }) => selector !== undefined && isSubset(selector, labels));
  return [...new Set([...selected, ...listedBy])];
}

function podPorts(pod: Pod, { origin, ports }: ServiceInfo): PortMap {
  const result = new Map<number, number>();
  for (const { name, port, targetPort } of ports) {
    if (typeof targetPort === 'string') {
      const found = containerPort(pod, targetPort);
      if (found !== undefined) result.set(port, found);
    } else {
      const named = origin === 'ServiceEntry' ? containerPort(pod, name) : undefined;
      result.set(port, named ?? targetPort ?? port);
    }
  }
  return result;
}

/** The first TCP port of that name: containers, then init containers that stay. */
function containerPort({ spec }: Pod, name: string): number | undefined {
  const staying = (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  for (const container of [...(spec?.containers ?? []), ...staying]) {
    const found = container.ports?.find((port) => port.name === name && (port.protocol ?? 'TCP') === 'TCP');
    if (found) return found.containerPort;
  }
  return undefined;
}

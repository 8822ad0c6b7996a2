/** WorkloadEntry to workload. Source: Istio control plane. */
import type { Workload } from '../../model/workload.ts';
import type { StatusPatch } from '../ir.ts';
import { namespaceOf, type WorkloadEntry } from '../resources.ts';
import { peerAuthenticationKeys } from './peer-authentication.ts';
import type { NamespaceScope } from './pod-workload.ts';
import { requiresWaypoint, tunnelPolicyKeys, waypointUse } from './policy-scope.ts';
import { isSubset } from './selector.ts';
import { entryPorts } from './service-info.ts';
import { bindWaypoint, waypointKey } from './waypoint.ts';
import { waypointAllowKeys } from './waypoint-allow.ts';
import { canonicalNames, entryAddress, localityOf, tunnelOf, withDefaults } from './workload-parts.ts';

export interface TranslatedEntry {
  readonly workload: Workload;
  readonly status: StatusPatch;
}

export function translateWorkloadEntry(entry: WorkloadEntry, scope: NamespaceScope): TranslatedEntry {
  const { settings } = scope;
  const namespace = namespaceOf(entry);
  const { spec } = entry;
  const { name, annotations = {} } = entry.metadata;
  const labels = { ...entry.metadata.labels, ...spec.labels };
  const binding = bindWaypoint(
    { namespace, labels, annotations, traffic: 'workload' },
    scope.namespace,
    scope.waypoints,
  );
  const workloadName =
    annotations['istio.io/autoRegistrationGroup'] ?? labels['service.istio.io/workload-name'] ?? name;
  const services = scope.services.filter(({ selector }) => selector !== undefined && isSubset(selector, labels));
  const use = waypointUse(services, scope.isServed, {
    own: binding.waypoint && waypointKey(binding.waypoint),
    required: requiresWaypoint(labels, scope.namespace?.metadata.labels),
  });
  const workload = withDefaults({
    uid: `${settings.clusterId}/networking.istio.io/WorkloadEntry/${namespace}/${name}`,
    name,
    namespace,
    ...entryAddress(spec.address ?? ''),
    network: spec.network ?? scope.network,
    ...tunnelOf(labels, annotations),
    ...canonicalNames(labels, workloadName),
    trustDomain: settings.trustDomain,
    ...(spec.serviceAccount ? { serviceAccount: spec.serviceAccount } : {}),
    waypoint: binding.waypoint?.address,
    workloadType: 'POD',
    workloadName,
    services: new Map(services.map((info) => [info.key, entryPorts(info, spec.ports ?? {})])),
    authorizationPolicies: [
      ...tunnelPolicyKeys(scope.policies, labels, use),
      ...peerAuthenticationKeys(scope.policies.peer, labels),
      ...waypointAllowKeys(scope.waypointAllows, binding.waypoint, services),
    ].sort(),
    clusterId: settings.clusterId,
    locality: localityOf(spec.locality),
    capacity: spec.weight && spec.weight > 0 ? spec.weight : 1,
  });
  const conditions = binding.condition ? [binding.condition] : [];
  const kind = { group: 'networking.istio.io', kind: 'WorkloadEntry' };
  return { workload, status: { kind, key: { namespace, name }, conditions } };
}

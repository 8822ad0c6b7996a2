/**
 * Policies that let nothing but its waypoint reach a workload, where the mesh asks for that
 * (PILOT_AUTO_ALLOW_WAYPOINT_POLICY). Source: Istio control plane, `istio_allow_waypoint_<namespace>_<name>`.
 *
 * Being an ALLOW policy it denies everything else. A waypoint without instances has none: nobody would get through.
 */
import { type Authorization, authorizationKey } from '../../model/authorization.ts';
import { identityPrincipal } from '../../model/identity.ts';
import type { MeshSettings } from '../mesh-settings.ts';
import { namespaceOf, type Pod } from '../resources.ts';
import { matchOf } from './match.ts';
import type { ServiceInfo } from './service-info.ts';
import { GATEWAY_NAME, type Waypoint, type Waypoints, waypointKey } from './waypoint.ts';

/** The policies by key of their waypoint. */
export type WaypointAllows = ReadonlyMap<string, Authorization>;

export function waypointAllows(waypoints: Waypoints, pods: readonly Pod[], settings: MeshSettings): WaypointAllows {
  const accounts = new Map<string, Set<string>>();
  if (!settings.autoAllowWaypoints) return new Map();
  for (const pod of pods) {
    const key = `${namespaceOf(pod)}/${pod.metadata.labels?.[GATEWAY_NAME] ?? ''}`;
    if (!waypoints.has(key)) continue;
    accounts.set(key, (accounts.get(key) ?? new Set()).add(pod.spec?.serviceAccountName || 'default'));
  }
  const allows = new Map<string, Authorization>();
  for (const [key, waypoint] of waypoints) {
    const own = accounts.get(key);
    if (own) allows.set(key, toPolicy(waypoint, [...own].sort(), settings));
  }
  return allows;
}

/** Keys that a workload lists: of its own waypoint, and of those of the services it is an endpoint of. */
export function waypointAllowKeys(
  allows: WaypointAllows,
  own: Waypoint | undefined,
  services: readonly ServiceInfo[],
): readonly string[] {
  if (allows.size === 0) return [];
  const used = new Set(services.map(({ waypoint }) => waypoint));
  if (own) used.add(waypointKey(own));
  return [...used].flatMap((key) => {
    const policy = allows.get(key ?? '');
    return policy ? [authorizationKey(policy)] : [];
  });
}

function toPolicy(
  { namespace, name }: Waypoint,
  accounts: readonly string[],
  { trustDomain }: MeshSettings,
): Authorization {
  const principals = accounts.map((serviceAccount) => ({
    kind: 'exact' as const,
    value: identityPrincipal({ trustDomain, namespace, serviceAccount }),
  }));
  return {
    name: `istio_allow_waypoint_${namespace}_${name}`,
    namespace,
    scope: 'WORKLOAD_SELECTOR',
    action: 'ALLOW',
    rules: [{ clauses: [{ matches: [matchOf({ principals })] }] }],
    dryRun: false,
  };
}

/**
 * The policies that concern workloads of one namespace, and where each is enforced: by the tunnel of the workload, or
 * whole at the waypoint that its traffic passes.
 *
 * Invariants
 *  - A workload with a waypoint and a policy that needs layer 7 has all its policies enforced at the waypoint, against the
 *    client's identity; its tunnel lets nobody but the waypoint in. So does one that requires its waypoint by label.
 *  - Without a waypoint the tunnel enforces what it can of every policy, and denies for the rest.
 */
import type { PeerScope } from './peer-authentication.ts';
import { isSubset, type Labels } from './selector.ts';
import type { ServiceInfo } from './service-info.ts';
import { requirementKeys } from './waypoint-requirement.ts';

export interface SelectorPolicy {
  readonly key: string;
  readonly selector: Labels;
  /** `WAYPOINT`: it says what tunnels cannot check. `NOTE`: it only notes, and is noted at a waypoint alone. */
  readonly needs: 'TUNNEL' | 'WAYPOINT' | 'NOTE';
  /** The tunnel of a selected workload lists it; others it finds by their namespace, or never hears of. */
  readonly listed: boolean;
}

export interface PolicyScope {
  /** Of the namespace and of the root namespace, those without a selector included. */
  readonly selected: readonly SelectorPolicy[];
  readonly peer: PeerScope;
}

/** The waypoints that the traffic of a workload passes. */
export interface WaypointUse {
  /** Keys of those we serve. */
  readonly waypoints: readonly string[];
  /** Nothing else may reach the workload. */
  readonly required: boolean;
}

export const NO_WAYPOINT: WaypointUse = { waypoints: [], required: false };
const REQUIRE_LABEL = 'culvert.dev/require-waypoint';

/** Whether labels (the nearest that says anything first) require a waypoint. */
export function requiresWaypoint(...labels: readonly (Labels | null | undefined)[]): boolean {
  return labels.find((one) => one?.[REQUIRE_LABEL] !== undefined)?.[REQUIRE_LABEL] === 'true';
}

/** @param own key of the waypoint that the workload asks for by itself */
export function waypointUse(
  services: readonly ServiceInfo[],
  isServed: (key: string) => boolean,
  { own, required }: { readonly own: string | undefined; readonly required: boolean },
): WaypointUse {
  const wanted = new Set(services.flatMap((info) => info.wanted));
  if (own !== undefined) wanted.add(own);
  const waypoints = [...wanted].filter(isServed).sort();
  return { waypoints, required: required || services.some((info) => info.requiresWaypoint === true) };
}

/** Sorted keys that a workload's tunnel lists; every policy of the scope selects it when `labels` is undefined. */
export function tunnelPolicyKeys(scope: PolicyScope, labels: Labels | undefined, use: WaypointUse): readonly string[] {
  const matching = matchingPolicies(scope, labels);
  if (isAtWaypoint(matching, use)) return requirementKeys(use.waypoints);
  return matching.flatMap(({ key, listed }) => (listed ? [key] : [])).sort();
}

/** Sorted keys of what its waypoint enforces for it. */
export function waypointPolicyKeys(scope: PolicyScope, labels: Labels, use: WaypointUse): readonly string[] {
  const matching = matchingPolicies(scope, labels);
  const enforced = isAtWaypoint(matching, use) ? matching : matching.filter(({ needs }) => needs === 'NOTE');
  return enforced.map(({ key }) => key).sort();
}

function matchingPolicies({ selected }: Pick<PolicyScope, 'selected'>, labels: Labels | undefined) {
  return selected.filter(({ selector }) => labels === undefined || isSubset(selector, labels));
}

function isAtWaypoint(matching: readonly SelectorPolicy[], { waypoints, required }: WaypointUse): boolean {
  if (required) return true;
  return waypoints.length > 0 && matching.some(({ needs }) => needs === 'WAYPOINT');
}

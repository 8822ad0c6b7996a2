/**
 * Choice of one endpoint per connection: candidates, rank by routing preference, weighted random pick.
 * Pure: randomness is a parameter in [0, 1).
 */
import type { Endpoint, MeshView } from './mesh-view.ts';
import { type LoadBalancing, type Scope, type Service, serviceKey } from './service.ts';
import type { Workload } from './workload.ts';

/** How the port of an endpoint is judged: `waypoint` lookups accept a port unknown to the service behind a sandwich. */
export type PortRule = 'standard' | 'waypoint';

export interface Candidate {
  readonly endpoint: Endpoint;
  readonly workload: Workload;
}

/** Endpoints of `service` that could serve `servicePort` for `source`. */
export function candidates(
  view: MeshView,
  service: Service,
  { source, servicePort, rule }: { readonly source: Workload; readonly servicePort: number; readonly rule: PortRule },
): Candidate[] {
  const targetPort = findTargetPort(service, servicePort);
  if (rule === 'standard' && targetPort === undefined) return [];
  const found: Candidate[] = [];
  for (const endpoint of view.endpoints(serviceKey(service))) {
    const workload = view.findWorkload(endpoint.workloadUid);
    if (!workload || !isReachable(workload, source)) continue;
    const hasPort =
      rule === 'standard'
        ? Boolean(targetPort) || endpoint.ports.has(servicePort)
        : targetPort !== undefined || workload.applicationTunnel !== undefined;
    if (hasPort) found.push({ endpoint, workload });
  }
  return found;
}

/** The service's own target port; 0 for a named one, undefined when the service lacks the port. */
export function findTargetPort(service: Service, servicePort: number): number | undefined {
  return service.ports.find((port) => port.servicePort === servicePort)?.targetPort;
}

/** Without address or host name only a gateway of another network leads there. */
function isReachable(workload: Workload, source: Workload): boolean {
  if (workload.addresses.length > 0 || workload.hostname !== '') return true;
  return workload.network !== source.network && workload.networkGateway !== undefined;
}

/** The candidates that the load balancing mode leaves. */
export function selectByPreference(
  list: readonly Candidate[],
  loadBalancing: LoadBalancing,
  source: Workload,
): readonly Candidate[] {
  const { mode, routingPreference } = loadBalancing;
  if (mode === 'STRICT') {
    return list.filter(({ workload }) => routingPreference.every((scope) => sameScope(scope, source, workload)));
  }
  if (mode !== 'FAILOVER') return list;
  let best = -1;
  let group: Candidate[] = [];
  for (const candidate of list) {
    const rank = preferenceRank(routingPreference, source, candidate.workload);
    if (rank > best) {
      best = rank;
      group = [];
    }
    if (rank === best) group.push(candidate);
  }
  return group;
}

/**
 * Number of leading preferences that match. NETWORK as the first one is special: a match adds the number of the
 * others on top, a mismatch is skipped.
 */
export function preferenceRank(preferences: readonly Scope[], source: Workload, workload: Workload): number {
  let rank = 0;
  for (const [index, scope] of preferences.entries()) {
    const same = sameScope(scope, source, workload);
    if (index === 0 && scope === 'NETWORK') {
      if (same) rank += preferences.length;
      continue;
    }
    if (!same) break;
    rank += 1;
  }
  return rank;
}

function sameScope(scope: Scope, a: Workload, b: Workload): boolean {
  switch (scope) {
    case 'REGION':
      return a.locality.region === b.locality.region;
    case 'ZONE':
      return a.locality.zone === b.locality.zone;
    case 'SUBZONE':
      return a.locality.subzone === b.locality.subzone;
    case 'NODE':
      return a.node === b.node;
    case 'CLUSTER':
      return a.clusterId === b.clusterId;
    case 'NETWORK':
      return a.network === b.network;
  }
}

/**
 * Picks with a probability proportional to `weight`; undefined when there is nothing with a weight above 0.
 * @param random in [0, 1)
 */
export function pickWeighted<T>(items: readonly T[], weight: (item: T) => number, random: number): T | undefined {
  let total = 0;
  for (const item of items) total += weight(item);
  if (!(total > 0)) return undefined;
  let rest = random * total;
  let last: T | undefined;
  for (const item of items) {
    const own = weight(item);
    if (own <= 0) continue;
    last = item;
    rest -= own;
    if (rest < 0) return item;
  }
  return last; // rounding at the very end of the scale
}

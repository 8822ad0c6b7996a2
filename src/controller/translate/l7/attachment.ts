/**
 * Attaching in two phases. First the replicas of a waypoint get the configuration of a service that asks for it; when
 * all that are connected have it, clients are told to send the service's traffic there. Until then traffic goes the
 * direct way, or, where the label `culvert.dev/until-waypoint-ready: refuse` says so, nowhere.
 *
 * Once attached an object stays so, also across restarts of the control plane: its own status says it.
 */
import type { KubeObject } from '../../../kube/index.ts';
import type { Labels } from '../selector.ts';
import type { Waypoints } from '../waypoint.ts';
import type { ServedGateways } from './served-gateways.ts';

/** Gateways that are ready for an object, by `<kind> <namespace>/<name>` of the object. */
export type Attachments = ReadonlyMap<string, readonly string[]>;

export const UNTIL_READY_LABEL = 'culvert.dev/until-waypoint-ready';
const BOUND = 'istio.io/WaypointBound';
const NOWHERE: readonly string[] = [];

export function attachmentKey(kind: string, { metadata }: Pick<KubeObject, 'metadata'>): string {
  return `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;
}

export function attachedGateways(attachments: Attachments, kind: string, object: KubeObject): readonly string[] {
  return attachments.get(attachmentKey(kind, object)) ?? NOWHERE;
}

/** The waypoints that clients may be told of for this object. */
export function usableWaypoints(
  object: KubeObject,
  given: {
    readonly waypoints: Waypoints;
    readonly served: ServedGateways;
    readonly attached: readonly string[];
    readonly namespaceLabels: Labels;
  },
): Waypoints {
  const { waypoints, served, attached, namespaceLabels } = given;
  if (served.size === 0) return waypoints;
  const choice = object.metadata.labels?.[UNTIL_READY_LABEL] ?? namespaceLabels[UNTIL_READY_LABEL];
  if (choice === 'refuse') {
    const all = new Map(waypoints);
    for (const [key, { waypoint }] of served) if (waypoint && !all.has(key)) all.set(key, waypoint);
    return all;
  }
  const bound = boundBefore(object);
  const isUsable = (key: string) => !served.has(key) || attached.includes(key) || key === bound;
  return new Map([...waypoints].filter(([key]) => isUsable(key)));
}

/** The waypoint that the object's status says it is attached to. */
function boundBefore(object: KubeObject): string | undefined {
  const { status } = object as { status?: { conditions?: readonly Readonly<Record<string, unknown>>[] } };
  const condition = status?.conditions?.find(({ type }) => type === BOUND);
  if (condition?.status !== 'True') return undefined;
  return /^Successfully attached to waypoint (\S+\/\S+?)(?:[;\s]|$)/.exec(String(condition.message ?? ''))?.[1];
}

/**
 * Which services and waypoints a route object is attached to, and its status for each parent.
 * Source: Gateway API (parents of mesh routes), Istio control plane (conditions).
 *
 * A parent may be a Service, a ServiceEntry or the waypoint's Gateway. A route in another namespace than its service's is
 * a consumer route: it holds for clients of its own namespace.
 */
import type { KubeObject } from '../../../kube/index.ts';
import type { BackendRefSpec, ParentRef } from '../../../schema/index.ts';
import type { ConditionValue, StatusPatch } from '../../ir.ts';
import { namespaceOf } from '../../resources.ts';
import type { ServiceInfo } from '../service-info.ts';
import type { AttachedRoute } from './attached-routes.ts';
import type { ServedGateways } from './served-gateways.ts';

export const CONTROLLER_NAME = 'istio.io/gateway-controller';

export interface RouteSurroundings {
  readonly gateways: ServedGateways;
  /** By `<kind> <namespace>/<name>` of the object behind it. */
  readonly services: ReadonlyMap<string, readonly ServiceInfo[]>;
  /** Undefined: there is no such backend, or it may not be used from there. */
  readonly resolveBackend: (
    ref: BackendRefSpec,
    namespace: string,
  ) => { readonly cluster: string; readonly port: number } | undefined;
}

export interface TranslatedRoute {
  readonly routes: readonly AttachedRoute[];
  readonly status: StatusPatch;
}

export interface ResolvedParent {
  readonly parentRef: ParentRef;
  readonly attachment: Pick<AttachedRoute, 'parent' | 'port' | 'clientNamespace'> | undefined;
  readonly conditions: readonly ConditionValue[];
}

export type RouteObject = KubeObject & { readonly spec: { readonly parentRefs?: readonly ParentRef[] | undefined } };

export function resolveParents(object: RouteObject, around: RouteSurroundings): readonly ResolvedParent[] {
  return (object.spec.parentRefs ?? []).flatMap((parentRef) => {
    const resolved = resolveParent(object, parentRef, around);
    return resolved ? [resolved] : [];
  });
}

/** Undefined for the Gateways of other controllers: their status is theirs. */
function resolveParent(
  object: RouteObject,
  parentRef: ParentRef,
  around: RouteSurroundings,
): ResolvedParent | undefined {
  const own = namespaceOf(object);
  const namespace = parentRef.namespace ?? own;
  const { group = 'gateway.networking.k8s.io', kind = 'Gateway', name, port } = parentRef;
  if (kind === 'Gateway' && group === 'gateway.networking.k8s.io') {
    const gateway = around.gateways.get(`${namespace}/${name}`);
    if (!gateway) return undefined;
    if (namespace !== own) {
      return refused(parentRef, 'NotAllowedByListeners', 'routes of a waypoint are of its own namespace');
    }
    const parent = { kind: 'GATEWAY', key: gateway.key } as const;
    return { parentRef, attachment: { parent, port, clientNamespace: undefined }, conditions: ACCEPTED };
  }
  if ((kind !== 'Service' || group !== '') && (kind !== 'ServiceEntry' || group !== 'networking.istio.io')) {
    return refused(parentRef, 'NoMatchingParent', `${kind} is no parent of a route`);
  }
  const [info] = around.services.get(`${kind} ${namespace}/${name}`) ?? [];
  if (!info) return refused(parentRef, 'NoMatchingParent', `${kind} ${namespace}/${name} does not exist`);
  if (port !== undefined && !info.ports.some((one) => one.port === port)) {
    return refused(parentRef, 'NoMatchingParent', `${kind} ${namespace}/${name} has no port ${port}`);
  }
  const parent = { kind: 'SERVICE', key: info.key } as const;
  const clientNamespace = namespace === own ? undefined : own;
  const bound = info.wanted.some((key) => around.gateways.has(key));
  return {
    parentRef,
    attachment: { parent, port, clientNamespace },
    conditions: [...ACCEPTED, bound ? WITH_WAYPOINT : WITHOUT_WAYPOINT],
  };
}

export function routeStatus(object: RouteObject, parents: readonly ResolvedParent[]): StatusPatch {
  const slash = object.apiVersion.indexOf('/');
  const { generation } = object.metadata;
  const observed = generation === undefined ? {} : { observedGeneration: generation };
  return {
    kind: { group: object.apiVersion.slice(0, slash), kind: object.kind },
    key: { namespace: namespaceOf(object), name: object.metadata.name },
    conditions: [],
    fields: {
      parents: parents.map(({ parentRef, conditions }) => ({
        parentRef,
        controllerName: CONTROLLER_NAME,
        conditions: conditions.map((condition) => ({ ...condition, ...observed })),
      })),
    },
  };
}

const ACCEPTED: readonly ConditionValue[] = [
  { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'Route was valid' },
  { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: 'All references resolved' },
];
const WITH_WAYPOINT: ConditionValue = {
  type: 'ResolvedWaypoints',
  status: 'True',
  reason: 'ResolvedWaypoints',
  message: 'All waypoints resolved',
};
const WITHOUT_WAYPOINT: ConditionValue = {
  ...WITH_WAYPOINT,
  message: 'the parent has no istio.io/use-waypoint label, nor has its namespace: the route will not be respected',
};

function refused(parentRef: ParentRef, reason: string, message: string): ResolvedParent {
  return { parentRef, attachment: undefined, conditions: [{ type: 'Accepted', status: 'False', reason, message }] };
}

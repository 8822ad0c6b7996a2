/**
 * What `targetRefs` of a policy name, and its condition `WaypointAccepted`.
 * Source: Istio control plane (policy attachment at waypoints). A Gateway, Service or ServiceEntry is of the policy's own
 * namespace; a GatewayClass is named by policies of the root namespace and means all its Gateways.
 */
import type { ConditionValue } from '../../ir.ts';
import type { ServiceInfo } from '../service-info.ts';
import type { ServedGateways } from './served-gateways.ts';

export interface TargetRef {
  readonly group?: string | undefined;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string | undefined;
}

export interface TargetSurroundings {
  readonly served: ServedGateways;
  /** By `<kind> <namespace>/<name>` of the object behind it. */
  readonly services: ReadonlyMap<string, readonly ServiceInfo[]>;
  readonly rootNamespace: string;
  /** Routes that may be named, by `<kind> <namespace>/<name>`; none for kinds that are not attached to routes. */
  readonly routes: ReadonlySet<string>;
}

export interface ResolvedTarget {
  readonly ref: TargetRef;
  /** Gateways all whose traffic is meant. */
  readonly gateways: readonly string[];
  /** Keys of services. */
  readonly services: readonly string[];
  /** `<kind> <namespace>/<name>` of routes. */
  readonly routes: readonly string[];
  readonly fault:
    | { readonly reason: 'TargetNotFound' | 'AncestorNotBound' | 'Invalid'; readonly message: string }
    | undefined;
}

export function targetRefsOf(spec: {
  readonly targetRef?: TargetRef | undefined;
  readonly targetRefs?: readonly TargetRef[] | undefined;
}): readonly TargetRef[] {
  return [...(spec.targetRefs ?? []), ...(spec.targetRef ? [spec.targetRef] : [])];
}

export function resolveTarget(ref: TargetRef, namespace: string, around: TargetSurroundings): ResolvedTarget {
  const { group = '', kind, name } = ref;
  const fail = (reason: NonNullable<ResolvedTarget['fault']>['reason'], message: string): ResolvedTarget => ({
    ref,
    gateways: [],
    services: [],
    routes: [],
    fault: { reason, message },
  });
  if (ref.namespace !== undefined && ref.namespace !== namespace) {
    return fail('Invalid', `${kind} ${ref.namespace}/${name} is in another namespace than the policy`);
  }
  if (group === 'gateway.networking.k8s.io' && kind === 'Gateway') {
    const key = `${namespace}/${name}`;
    if (!around.served.has(key)) return fail('TargetNotFound', `there is no waypoint ${key}`);
    return { ref, gateways: [key], services: [], routes: [], fault: undefined };
  }
  if (group === 'gateway.networking.k8s.io' && kind === 'GatewayClass') {
    if (namespace !== around.rootNamespace) {
      return fail('Invalid', `only policies of ${around.rootNamespace} may name a GatewayClass`);
    }
    const gateways = [...around.served.values()].filter(({ gateway }) => gateway.spec.gatewayClassName === name);
    if (gateways.length === 0) return fail('TargetNotFound', `no waypoint is of class ${name}`);
    return { ref, gateways: gateways.map(({ key }) => key), services: [], routes: [], fault: undefined };
  }
  const route = `${kind} ${namespace}/${name}`;
  if (group === 'gateway.networking.k8s.io' && kind.endsWith('Route') && around.routes.size > 0) {
    if (!around.routes.has(route)) return fail('TargetNotFound', `${route} does not exist`);
    return { ref, gateways: [], services: [], routes: [route], fault: undefined };
  }
  const isService = group === '' && kind === 'Service';
  if (!isService && !(group === 'networking.istio.io' && kind === 'ServiceEntry')) {
    return fail('Invalid', `${kind} of group ${JSON.stringify(group)} cannot be a target`);
  }
  const infos = around.services.get(`${kind} ${namespace}/${name}`) ?? [];
  if (infos.length === 0) return fail('TargetNotFound', `${kind} ${namespace}/${name} does not exist`);
  const bound = infos.filter(({ wanted }) => wanted.some((key) => around.served.has(key)));
  if (bound.length === 0) return fail('AncestorNotBound', `${kind} ${namespace}/${name} is not bound to a waypoint`);
  return { ref, gateways: [], services: bound.map(({ key }) => key), routes: [], fault: undefined };
}

/** One target: its own result. Several: true if any holds. */
export function targetCondition(targets: readonly ResolvedTarget[], enforcedAt: readonly string[]): ConditionValue {
  const type = 'WaypointAccepted';
  const faults = targets.flatMap(({ fault }) => (fault ? [fault] : []));
  const points = `enforced at ${[...new Set(enforcedAt)].sort().join(', ')}`;
  if (faults.length === 0) return { type, status: 'True', reason: 'Accepted', message: `bound to targets; ${points}` };
  const [first] = faults;
  const why = faults.map(({ message }) => message).join('; ');
  if (targets.length === 1 && first) return { type, status: 'False', reason: first.reason, message: first.message };
  if (faults.length === targets.length) return { type, status: 'False', reason: 'Invalid', message: why };
  return { type, status: 'True', reason: 'PartiallyInvalid', message: `${points}; not bound: ${why}` };
}

/**
 * Which services, waypoints and listeners a route object is attached to, and its status for each parent.
 * Source: Gateway API (parents of routes, of the mesh profile too), Istio control plane (conditions).
 *
 * A parent may be a Service, a ServiceEntry or a Gateway. A route in another namespace than its service's is a consumer
 * route: it holds for clients of its own namespace.
 */
import type { KubeObject } from '../../../kube/index.ts';
import type { HttpRoute, L4Route } from '../../../model/l7/index.ts';
import type { ParentRef } from '../../../schema/index.ts';
import type { ConditionValue, StatusPatch } from '../../ir.ts';
import { nameOf, namespaceOf } from '../../resources.ts';
import type { Labels } from '../selector.ts';
import type { ServiceInfo } from '../service-info.ts';
import type { AttachedRoute } from './attached-routes.ts';
import { acceptingListeners } from './listener-attachment.ts';
import type { BackendCatalog, Referrer } from './route-backends.ts';
import type { RouteProblem } from './route-problem.ts';
import type { ServedGateways } from './served-gateways.ts';

export const CONTROLLER_NAME = 'istio.io/gateway-controller';
const GATEWAY_GROUP = 'gateway.networking.k8s.io';

export interface RouteSurroundings {
  readonly gateways: ServedGateways;
  readonly catalog: BackendCatalog;
  readonly namespaceLabels: (namespace: string) => Labels;
}

export interface TranslatedRoute {
  readonly routes: readonly AttachedRoute[];
  readonly status: StatusPatch;
}

export type RouteObject = KubeObject & { readonly spec: { readonly parentRefs?: readonly ParentRef[] | undefined } };

/** The rules of a route object, before it is known where they hold. */
export interface RouteRules {
  /** Of the object; for listeners of ingress gateways. */
  readonly hosts: readonly string[];
  readonly http: readonly HttpRoute[];
  readonly l4: readonly L4Route[];
  /** How many the object has. */
  readonly rules: number;
  readonly problems: readonly RouteProblem[];
}

type Attachment = Pick<AttachedRoute, 'parent' | 'port' | 'clientNamespace' | 'listeners'>;

interface ResolvedParent {
  readonly parentRef: ParentRef;
  /** Undefined: refused. */
  readonly attachment: Attachment | undefined;
  readonly conditions: readonly ConditionValue[];
}

export function attachRoutes(object: RouteObject, around: RouteSurroundings, rules: RouteRules): TranslatedRoute {
  const parents = (object.spec.parentRefs ?? []).flatMap((parentRef) => {
    const resolved = resolveParent(object, parentRef, { around, rules });
    return resolved ? [resolved] : [];
  });
  const routes = parents.flatMap(({ attachment }): readonly AttachedRoute[] => {
    if (!attachment) return [];
    const createdAt = object.metadata.creationTimestamp ?? '';
    const { hosts, http, l4 } = rules;
    return [{ ...attachment, name: nameOf(object), createdAt, order: 'PRECEDENCE', hosts, http, l4 }];
  });
  return { routes, status: routeStatus(object, parents, rules) };
}

/** Who refers to the backends of the object. */
export function referrerOf(object: RouteObject, { catalog }: RouteSurroundings): Referrer {
  const namespace = namespaceOf(object);
  const parents = (object.spec.parentRefs ?? []).flatMap((ref) => {
    const infos = catalog.services.get(`${ref.kind ?? 'Gateway'} ${ref.namespace ?? namespace}/${ref.name}`) ?? [];
    return infos.map(({ key }) => key);
  });
  return { group: GATEWAY_GROUP, kind: object.kind, namespace, parents: new Set(parents) };
}

interface ParentContext {
  readonly around: RouteSurroundings;
  readonly rules: RouteRules;
}

/** Undefined for the Gateways of other controllers: their status is theirs. */
function resolveParent(object: RouteObject, parentRef: ParentRef, context: ParentContext): ResolvedParent | undefined {
  const { group = GATEWAY_GROUP, kind = 'Gateway' } = parentRef;
  if (kind === 'Gateway' && group === GATEWAY_GROUP) return resolveGateway(object, parentRef, context);
  if ((kind === 'Service' && group === '') || (kind === 'ServiceEntry' && group === 'networking.istio.io')) {
    return resolveService(object, parentRef, context);
  }
  return refused(parentRef, 'NoMatchingParent', `${kind} is no parent of a route`);
}

function resolveGateway(object: RouteObject, parentRef: ParentRef, { around, rules }: ParentContext) {
  const own = namespaceOf(object);
  const served = around.gateways.get(`${parentRef.namespace ?? own}/${parentRef.name}`);
  if (!served) return undefined;
  const { kind } = object;
  const subject = { kind, namespace: own, labels: around.namespaceLabels(own), hosts: rules.hosts };
  const { listeners, refusal } = acceptingListeners(served, parentRef, subject);
  if (refusal) return refused(parentRef, refusal.reason, refusal.message);
  const parent = { kind: 'GATEWAY', key: served.key } as const;
  const port = served.kind === 'WAYPOINT' ? parentRef.port : undefined;
  const attachment = { parent, port, clientNamespace: undefined, listeners };
  return { parentRef, attachment, conditions: [] };
}

function resolveService(object: RouteObject, parentRef: ParentRef, { around }: ParentContext): ResolvedParent {
  const own = namespaceOf(object);
  const { kind = 'Service', name, sectionName } = parentRef;
  const namespace = parentRef.namespace ?? own;
  const [info] = around.catalog.services.get(`${kind} ${namespace}/${name}`) ?? [];
  if (!info) return refused(parentRef, 'NoMatchingParent', `${kind} ${namespace}/${name} does not exist`);
  const port = parentRef.port ?? portOfSection(info, sectionName);
  if (port !== undefined && !info.ports.some((one) => one.port === port)) {
    const wanted = parentRef.port ?? sectionName;
    return refused(parentRef, 'NoMatchingParent', `${kind} ${namespace}/${name} has no port ${wanted}`);
  }
  const parent = { kind: 'SERVICE', key: info.key } as const;
  const clientNamespace = namespace === own ? undefined : own;
  const bound = info.wanted.some((key) => around.gateways.has(key));
  const attachment = { parent, port, clientNamespace, listeners: [] };
  return { parentRef, attachment, conditions: [bound ? WITH_WAYPOINT : WITHOUT_WAYPOINT] };
}

/** -1, a port that no service has, for a name that it has not. */
function portOfSection({ ports }: ServiceInfo, sectionName: string | undefined): number | undefined {
  if (sectionName === undefined) return undefined;
  return ports.find(({ name }) => name === sectionName)?.port ?? -1;
}

function routeStatus(object: RouteObject, parents: readonly ResolvedParent[], rules: RouteRules): StatusPatch {
  const slash = object.apiVersion.indexOf('/');
  const { generation } = object.metadata;
  const observed = generation === undefined ? {} : { observedGeneration: generation };
  return {
    kind: { group: object.apiVersion.slice(0, slash), kind: object.kind },
    key: { namespace: namespaceOf(object), name: object.metadata.name },
    conditions: [],
    fields: {
      parents: parents.map(({ parentRef, attachment, conditions }) => ({
        parentRef,
        controllerName: CONTROLLER_NAME,
        conditions: [...(attachment ? acceptance(rules) : []), ...conditions].map((one) => ({ ...one, ...observed })),
      })),
    },
  };
}

/** What is wrong with the rules is told with every parent. */
function acceptance({ problems, rules }: RouteRules): readonly ConditionValue[] {
  const dropped = problems.filter(({ condition }) => condition === 'PartiallyInvalid');
  const unresolved = problems.filter(({ condition }) => condition === 'ResolvedRefs');
  const [firstDropped] = dropped;
  const [firstUnresolved] = unresolved;
  const isEmpty = firstDropped !== undefined && dropped.length >= rules;
  return [
    isEmpty
      ? { type: 'Accepted', status: 'False', reason: firstDropped.reason, message: texts(dropped) }
      : { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'Route was valid' },
    ...(firstDropped && !isEmpty
      ? [{ type: 'PartiallyInvalid', status: 'True', reason: firstDropped.reason, message: texts(dropped) } as const]
      : []),
    firstUnresolved
      ? { type: 'ResolvedRefs', status: 'False', reason: firstUnresolved.reason, message: texts(unresolved) }
      : { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: 'All references resolved' },
  ];
}

function texts(problems: readonly RouteProblem[]): string {
  return [...new Set(problems.map(({ message }) => message))].join('; ');
}

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

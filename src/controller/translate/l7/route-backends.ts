/**
 * The backends of a route's rule.
 *
 * Invariants
 *  - A backend that is not there or not permitted keeps its weight: its share of the requests is answered with 500.
 *  - A backend of another namespace needs a ReferenceGrant, except a parent of the route: its clients address it anyway.
 * Source: Gateway API (backendRef), Istio (kind Hostname).
 */
import { NO_HEADERS, toBackend, type WeightedBackend } from '../../../model/l7/index.ts';
import type { BackendRefSpec, FilteredBackendRef } from '../../../schema/index.ts';
import type { ReferenceGrant } from '../../resources.ts';
import type { ServiceInfo } from '../service-info.ts';
import { isGranted } from './reference-grants.ts';
import { headersOf } from './route-headers.ts';
import { type Checked, invalidFilter, isProblem, type ResolvedBackend, type RouteProblem } from './route-problem.ts';

/** What is there to be referred to. */
export interface BackendCatalog {
  /** By `<kind> <namespace>/<name>` of the object behind it. */
  readonly services: ReadonlyMap<string, readonly ServiceInfo[]>;
  readonly findHost: (hostname: string, namespace: string) => ServiceInfo | undefined;
  readonly grants: readonly ReferenceGrant[];
}

/** Whose references these are. */
export interface Referrer {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  /** Keys of the services that the route is attached to. */
  readonly parents: ReadonlySet<string>;
}

export function resolveBackend(ref: BackendRefSpec, from: Referrer, catalog: BackendCatalog): ResolvedBackend {
  const { group = '', kind = 'Service', name, port } = ref;
  const namespace = ref.namespace ?? from.namespace;
  const info = findBackend({ group, kind, namespace, name }, from, catalog);
  if (info === 'UNKNOWN_KIND') {
    return problem('InvalidKind', `backend ${name}: ${group === '' ? 'core' : group}/${kind} is no kind of backend`);
  }
  if (port === undefined) return problem('InvalidDestination', `backend ${name}: port is required`);
  const isParent = info !== undefined && from.parents.has(info.key);
  const to = { group, kind, namespace, name };
  if (!isParent && kind !== 'Hostname' && !isGranted(catalog.grants, { from, to })) {
    return problem('RefNotPermitted', `backend ${namespace}/${name}: no ReferenceGrant of ${namespace} permits it`);
  }
  if (!info) return problem('BackendNotFound', `backend(${namespace}/${name}) not found`);
  if (!info.ports.some((one) => one.port === port)) {
    return problem('BackendNotFound', `backend(${namespace}/${name}) has no port ${port}`);
  }
  return { cluster: info.key, port };
}

function findBackend(
  {
    group,
    kind,
    namespace,
    name,
  }: { readonly group: string; readonly kind: string; readonly namespace: string; readonly name: string },
  from: Referrer,
  { services, findHost }: BackendCatalog,
): ServiceInfo | undefined | 'UNKNOWN_KIND' {
  if (group === '' && kind === 'Service') return services.get(`Service ${namespace}/${name}`)?.[0];
  if (group === 'networking.istio.io' && kind === 'Hostname') return findHost(name, from.namespace);
  if (group === 'networking.istio.io' && kind === 'ServiceEntry') {
    return services.get(`ServiceEntry ${namespace}/${name}`)?.[0];
  }
  return 'UNKNOWN_KIND';
}

/** With a problem for every reference that is of no use. */
export function translateBackends(
  refs: readonly FilteredBackendRef[],
  from: Referrer,
  catalog: BackendCatalog,
): Checked<readonly WeightedBackend[]> {
  const problems: RouteProblem[] = [];
  const value = refs.map((ref) => {
    const resolved = resolveBackend(ref, from, catalog);
    const filters = ref.filters ?? [];
    const headers = headersOf(filters);
    const unknown = filters.filter(({ type }) => type !== 'RequestHeaderModifier' && type !== 'ResponseHeaderModifier');
    const own = [
      ...(isProblem(resolved) ? [resolved] : []),
      ...headers.problems,
      ...unknown.map(({ type }) => invalidFilter(`backend ${ref.name}: filter ${type} is not for backends`)),
    ];
    problems.push(...own);
    const target = isProblem(resolved) ? { cluster: '', port: 0 } : resolved;
    const { requestHeaders = NO_HEADERS, responseHeaders = NO_HEADERS } = headers.value;
    const failStatus = own.length > 0 ? 500 : 0;
    return toBackend({ ...target, weight: ref.weight ?? 1, failStatus, requestHeaders, responseHeaders });
  });
  return { value, problems };
}

function problem(reason: RouteProblem['reason'], message: string): RouteProblem {
  return { condition: 'ResolvedRefs', reason, message };
}

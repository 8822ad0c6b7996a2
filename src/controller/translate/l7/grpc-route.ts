/** GRPCRoute to routes: a gRPC method is the path `/<service>/<method>`. Source: Gateway API GRPCRoute. */
import { type HttpMatch, type HttpRoute, type PathMatch, regexFault, toRoute } from '../../../model/l7/index.ts';
import type { GrpcRouteRule } from '../../../schema/index.ts';
import { type GrpcRouteObject, nameOf } from '../../resources.ts';
import { namedFaults, routeFilters, ruleAction, toNamed, toPersistence } from './http-route.ts';
import { resolveBackend, translateBackends } from './route-backends.ts';
import { translateFilters } from './route-filters.ts';
import { attachRoutes, type RouteSurroundings, referrerOf, type TranslatedRoute } from './route-parents.ts';
import { type Checked, unsupported } from './route-problem.ts';

type GrpcMatch = NonNullable<GrpcRouteRule['matches']>[number];

export function translateGrpcRoute(object: GrpcRouteObject, around: RouteSurroundings): TranslatedRoute {
  const rules = (object.spec.rules ?? []).map((rule, index) => translateRule(rule, index, { object, around }));
  return attachRoutes(object, around, {
    hosts: object.spec.hostnames ?? [],
    http: rules.flatMap(({ value }) => value),
    l4: [],
    rules: rules.length,
    problems: rules.flatMap(({ problems }) => problems),
  });
}

function translateRule(
  rule: GrpcRouteRule,
  index: number,
  { object, around }: { readonly object: GrpcRouteObject; readonly around: RouteSurroundings },
): Checked<readonly HttpRoute[]> {
  const matches = rule.matches && rule.matches.length > 0 ? rule.matches : [{}];
  const fault = matches.flatMap(matchFaults)[0];
  if (fault !== undefined) return { value: [], problems: [unsupported(`Dropped Rule ${index}: ${fault}`)] };
  const from = referrerOf(object, around);
  const backends = translateBackends(rule.backendRefs ?? [], from, around.catalog);
  const resolve = (ref: Parameters<typeof resolveBackend>[0]) => resolveBackend(ref, from, around.catalog);
  const filters = translateFilters(rule.filters ?? [], resolve, 'GRPCRoute');
  const { sessionPersistence } = rule;
  const value = matches.map((match) =>
    toRoute({
      name: `${nameOf(object)}.${rule.name ?? index}`,
      match: toMatch(match),
      action: ruleAction(filters, backends.value),
      ...routeFilters(filters.value),
      ...(sessionPersistence ? { sessionPersistence: toPersistence(sessionPersistence, undefined) } : {}),
    }),
  );
  return { value, problems: [...backends.problems, ...filters.problems] };
}

function matchFaults({ method, headers = [] }: GrpcMatch): readonly string[] {
  const isRegex = method?.type === 'RegularExpression';
  const faults = isRegex ? [regexFault(method.service ?? ''), regexFault(method.method ?? '')] : [];
  return [...faults.filter((fault) => fault !== undefined), ...namedFaults(headers)];
}

function toMatch({ method, headers = [] }: GrpcMatch): HttpMatch {
  const path = toPath(method);
  return { ...(path ? { path } : {}), headers: toNamed(headers, (name) => name.toLowerCase()), query: [] };
}

function toPath(given: GrpcMatch['method']): PathMatch | undefined {
  const { type = 'Exact', service = '', method = '' } = given ?? {};
  if (service === '' && method === '') return undefined;
  const path = (kind: PathMatch['kind'], value: string): PathMatch => ({ kind, value, ignoreCase: false });
  if (type === 'RegularExpression') return path('REGEX', `/(?:${service || '[^/]+'})/(?:${method || '.+'})`);
  if (method === '') return path('PREFIX', `/${service}/`);
  if (service === '') return path('REGEX', `/[^/]+/${method.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`);
  return path('EXACT', `/${service}/${method}`);
}

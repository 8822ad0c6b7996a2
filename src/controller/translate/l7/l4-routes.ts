/** TCPRoute and TLSRoute: connections by weight, TLS by the server name that it asks for. Source: Gateway API. */
import type { L4Route } from '../../../model/l7/index.ts';
import type { L4RouteRule } from '../../../schema/index.ts';
import { nameOf, type TcpRouteObject, type TlsRouteObject } from '../../resources.ts';
import { translateBackends } from './route-backends.ts';
import { attachRoutes, type RouteSurroundings, referrerOf, type TranslatedRoute } from './route-parents.ts';
import type { Checked } from './route-problem.ts';

export function translateTcpRoute(object: TcpRouteObject, around: RouteSurroundings): TranslatedRoute {
  return translateL4(object, object.spec.rules ?? [], { around, sniHosts: [] });
}

export function translateTlsRoute(object: TlsRouteObject, around: RouteSurroundings): TranslatedRoute {
  const sniHosts = (object.spec.hostnames ?? []).map((host) => host.toLowerCase());
  // No name in the route: any name, but TLS only.
  return translateL4(object, object.spec.rules ?? [], { around, sniHosts: sniHosts.length > 0 ? sniHosts : ['*'] });
}

function translateL4(
  object: TcpRouteObject | TlsRouteObject,
  rules: readonly L4RouteRule[],
  { around, sniHosts }: { readonly around: RouteSurroundings; readonly sniHosts: readonly string[] },
): TranslatedRoute {
  const from = referrerOf(object, around);
  const translated = rules.map((rule, index): Checked<L4Route> => {
    const backends = translateBackends(rule.backendRefs ?? [], from, around.catalog);
    const name = `${nameOf(object)}.${rule.name ?? index}`;
    const nobody = { destinations: [], sources: [], clientNamespaces: [] };
    return { value: { name, sniHosts, ...nobody, backends: backends.value }, problems: backends.problems };
  });
  return attachRoutes(object, around, {
    hosts: [],
    http: [],
    l4: translated.map(({ value }) => value),
    rules: translated.length,
    problems: translated.flatMap(({ problems }) => problems),
  });
}

/**
 * Routes as their translators hand them on, one for every parent of a route object, and how those of one service port
 * become what the waypoint compiles.
 *
 * Invariants
 *  - Routes of the older object come before those of the younger where their matches are equal in precedence.
 *  - A service port without any route for a client forwards to the service itself. With routes of the service, what none
 *    of them matches is not found; with routes of the waypoint alone it goes to the service.
 * Source: Gateway API (precedence of HTTPRoute, mesh routes).
 */
import { type HttpRoute, type L4Route, toBackend, toRoute, type VirtualHost } from '../../../model/l7/index.ts';
import { compareText } from '../../resources.ts';
import { comparePrecedence } from './precedence.ts';

export interface AttachedRoute {
  /** Key of a service (`namespace/hostname`) or of the waypoint (`namespace/name`). */
  readonly parent: { readonly kind: 'SERVICE' | 'GATEWAY'; readonly key: string };
  /** Undefined: every port. */
  readonly port: number | undefined;
  /** Consumer routes hold for clients of their namespace; undefined: everybody. */
  readonly clientNamespace: string | undefined;
  /** Names of the listeners of an ingress gateway. */
  readonly listeners: readonly string[];
  /** Hosts of the object, for ingress gateways; empty: those of the listener. */
  readonly hosts: readonly string[];
  /** `namespace/name` of the object, and when it was made, for the order between objects. */
  readonly name: string;
  readonly createdAt: string;
  /** `PRECEDENCE`: rules are sorted by their matches (Gateway API). `WRITTEN`: as they stand (VirtualService). */
  readonly order: 'PRECEDENCE' | 'WRITTEN';
  readonly http: readonly HttpRoute[];
  readonly l4: readonly L4Route[];
}

/** The routes of one port of a service. `routes` are those whose parent is the service or its waypoint. */
export function portRoutes(
  service: { readonly key: string; readonly port: number },
  routes: readonly AttachedRoute[],
): { readonly virtualHosts: readonly VirtualHost[]; readonly l4Routes: readonly L4Route[] } {
  const own = routes.filter(({ port }) => port === undefined || port === service.port).sort(byAge);
  const consumers = [...new Set(own.flatMap(({ clientNamespace: one }) => (one === undefined ? [] : [one])))];
  const shared = own.filter(({ clientNamespace }) => clientNamespace === undefined);
  const virtualHosts = [
    ...consumers.map((namespace) => {
      const theirs = own.filter(({ clientNamespace }) => clientNamespace === namespace);
      return toVirtualHost(service, theirs, [namespace]);
    }),
    toVirtualHost(service, shared, []),
  ];
  return { virtualHosts, l4Routes: l4Routes(own) };
}

/** Those of consumers first, and those that look for a server name before those that do not. */
function l4Routes(routes: readonly AttachedRoute[]): readonly L4Route[] {
  const all = routes.flatMap(({ clientNamespace, l4 }) =>
    clientNamespace === undefined ? l4 : l4.map((route) => ({ ...route, clientNamespaces: [clientNamespace] })),
  );
  const rank = ({ clientNamespaces, sniHosts }: L4Route): number =>
    (clientNamespaces.length > 0 ? 0 : 2) + (sniHosts.length > 0 ? 0 : 1);
  return all.sort((a, b) => rank(a) - rank(b)); // stable: the older object's stay first
}

function toVirtualHost(
  service: { readonly key: string; readonly port: number },
  routes: readonly AttachedRoute[],
  clientNamespaces: readonly string[],
): VirtualHost {
  const sorted = routes
    .filter(({ order }) => order === 'PRECEDENCE')
    .flatMap(({ http }) => http)
    .sort(comparePrecedence); // stable: the older object's stay first
  const written = routes.filter(({ order }) => order === 'WRITTEN').flatMap(({ http }) => http);
  const all = [...sorted, ...written];
  const isOwn = routes.some(({ parent, http }) => parent.kind === 'SERVICE' && http.length > 0);
  return {
    name: service.key,
    hosts: ['*'],
    clientNamespaces,
    routes: isOwn ? all : [...all, toService(service)],
  };
}

function toService({ key, port }: { readonly key: string; readonly port: number }): HttpRoute {
  return toRoute({ name: 'default', action: { kind: 'FORWARD', backends: [toBackend({ cluster: key, port })] } });
}

function byAge(a: AttachedRoute, b: AttachedRoute): number {
  return compareText(a.createdAt, b.createdAt) || compareText(a.name, b.name);
}

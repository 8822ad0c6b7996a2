/** Which listeners of a Gateway take a route. Source: Gateway API (allowedRoutes, hostname intersection, protocols). */
import type { ListenerSpec, ParentRef } from '../../../schema/index.ts';
import { namespaceOf } from '../../resources.ts';
import { type Labels, matchesSelector } from '../selector.ts';
import type { ServedGateway } from './served-gateways.ts';

export interface AttachingRoute {
  readonly kind: string;
  readonly namespace: string;
  /** Of its namespace. */
  readonly labels: Labels;
  readonly hosts: readonly string[];
}

export interface ListenerChoice {
  /** Names of those that take it. */
  readonly listeners: readonly string[];
  readonly refusal?: { readonly reason: string; readonly message: string };
}

const KINDS_OF: Readonly<Record<string, readonly string[]>> = {
  HBONE: ['HTTPRoute', 'GRPCRoute', 'TCPRoute', 'TLSRoute'],
  HTTP: ['HTTPRoute', 'GRPCRoute'],
  HTTPS: ['HTTPRoute', 'GRPCRoute'],
  TLS: ['TLSRoute', 'TCPRoute'],
  TCP: ['TCPRoute'],
};

/** Kinds of routes that a listener takes. */
export function routeKindsOf({ protocol, tls, allowedRoutes }: ListenerSpec): readonly string[] {
  const own = protocol === 'TLS' && tls?.mode === 'Passthrough' ? ['TLSRoute'] : (KINDS_OF[protocol] ?? []);
  const wanted = allowedRoutes?.kinds;
  return wanted && wanted.length > 0 ? own.filter((kind) => wanted.some((one) => one.kind === kind)) : own;
}

export function acceptingListeners(
  { gateway }: ServedGateway,
  { sectionName, port }: ParentRef,
  route: AttachingRoute,
): ListenerChoice {
  const isIngress = (listener: ListenerSpec): boolean => listener.protocol !== 'HBONE';
  const named = (gateway.spec.listeners ?? []).filter(
    (listener) =>
      (sectionName === undefined || listener.name === sectionName) &&
      // the port of a parent that is a waypoint is one of its services'
      (port === undefined || !isIngress(listener) || listener.port === port),
  );
  if (named.length === 0) return refuse('NoMatchingParent', 'the Gateway has no such listener');
  const gatewayNamespace = namespaceOf(gateway);
  const open = named.filter((listener) => isAllowed(listener, route, gatewayNamespace));
  if (open.length === 0) {
    return refuse('NotAllowedByListeners', `no listener allows ${route.kind} of namespace ${route.namespace}`);
  }
  const fitting = open.filter((listener) => !isIngress(listener) || intersects(listener.hostname, route.hosts));
  if (fitting.length === 0) {
    return refuse('NoMatchingListenerHostname', 'no listener has a hostname that the route has');
  }
  return { listeners: fitting.map(({ name }) => name) };
}

function isAllowed(listener: ListenerSpec, { kind, namespace, labels }: AttachingRoute, own: string): boolean {
  if (!routeKindsOf(listener).includes(kind)) return false;
  const { from = 'Same', selector } = listener.allowedRoutes?.namespaces ?? {};
  switch (from) {
    case 'All':
      return true;
    case 'Selector':
      return matchesSelector(selector ?? {}, labels);
    case 'None':
      return false;
    default:
      return namespace === own;
  }
}

function intersects(hostname: string | undefined, hosts: readonly string[]): boolean {
  if (hosts.length === 0 || !hostname) return true;
  return hosts.some((host) => intersection(hostname, host) !== undefined);
}

/** The narrower of two host names, either with `*.` at its start; undefined when no name fits both. */
export function intersection(a: string, b: string): string | undefined {
  if (a === b) return a;
  if (a.startsWith('*') && isWithin(b, a)) return b;
  if (b.startsWith('*') && isWithin(a, b)) return a;
  return undefined;
}

function isWithin(host: string, wildcard: string): boolean {
  return host.length > wildcard.length - 1 && host.endsWith(wildcard.slice(1));
}

function refuse(reason: string, message: string): ListenerChoice {
  return { listeners: [], refusal: { reason, message } };
}

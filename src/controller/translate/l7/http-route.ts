/** HTTPRoute to routes. Source: Gateway API v1.3, with the parents of its mesh profile and the waypoint Gateway. */
import {
  type HeaderModifier,
  type HttpMatch,
  type HttpRoute,
  type NamedMatch,
  NO_HEADERS,
  type TextMatch,
  toBackend,
  toRoute,
  type WeightedBackend,
} from '../../../model/l7/index.ts';
import type { HttpRouteFilter, HttpRouteMatch, HttpRouteRule } from '../../../schema/index.ts';
import { type HttpRouteObject, nameOf, namespaceOf } from '../../resources.ts';
import type { AttachedRoute } from './attached-routes.ts';
import { type RouteSurroundings, resolveParents, routeStatus, type TranslatedRoute } from './route-parents.ts';

export function translateHttpRoute(object: HttpRouteObject, around: RouteSurroundings): TranslatedRoute {
  const namespace = namespaceOf(object);
  const http = (object.spec.rules ?? []).flatMap((rule, index) =>
    translateRule(rule, { name: `${nameOf(object)}.${index}`, namespace, around }),
  );
  const parents = resolveParents(object, around);
  const routes = parents.flatMap(({ attachment }): readonly AttachedRoute[] =>
    attachment
      ? [
          {
            ...attachment,
            name: nameOf(object),
            createdAt: object.metadata.creationTimestamp ?? '',
            order: 'PRECEDENCE',
            http,
            l4: [],
          },
        ]
      : [],
  );
  return { routes, status: routeStatus(object, parents) };
}

interface RuleContext {
  readonly name: string;
  readonly namespace: string;
  readonly around: RouteSurroundings;
}

function translateRule(rule: HttpRouteRule, { name, namespace, around }: RuleContext): readonly HttpRoute[] {
  const { matches = [], filters = [], backendRefs = [], timeouts } = rule;
  const backends = backendRefs.map((ref): WeightedBackend => {
    const resolved = around.resolveBackend(ref, namespace);
    return toBackend({
      cluster: resolved?.cluster ?? '',
      port: resolved?.port ?? 0,
      weight: ref.weight ?? 1,
      failStatus: resolved ? 0 : 500,
    });
  });
  const usable = backends.some(({ weight }) => weight > 0);
  const route = {
    name,
    action: usable
      ? { kind: 'FORWARD' as const, backends }
      : { kind: 'RESPOND' as const, response: { status: 500, body: '', contentType: '' } },
    requestHeaders: modifier(filters, 'RequestHeaderModifier'),
    responseHeaders: modifier(filters, 'ResponseHeaderModifier'),
    timeoutMs: durationMs(timeouts?.request),
  };
  return (matches.length > 0 ? matches : [{}]).map((match) => toRoute({ ...route, match: toMatch(match) }));
}

function modifier(filters: readonly HttpRouteFilter[], type: HttpRouteFilter['type']): HeaderModifier {
  const filter = filters.find((one) => one.type === type);
  const given = type === 'RequestHeaderModifier' ? filter?.requestHeaderModifier : filter?.responseHeaderModifier;
  if (!given) return NO_HEADERS;
  const lower = (list: readonly { readonly name: string; readonly value: string }[] = []) =>
    list.map(({ name, value }) => ({ name: name.toLowerCase(), value }));
  return {
    set: lower(given.set),
    add: lower(given.add),
    remove: (given.remove ?? []).map((name) => name.toLowerCase()),
  };
}

function toMatch({ path, headers = [], queryParams = [], method }: HttpRouteMatch): HttpMatch {
  const kinds = { Exact: 'EXACT', PathPrefix: 'SEGMENTS', RegularExpression: 'REGEX' } as const;
  return {
    path: { kind: kinds[path?.type ?? 'PathPrefix'], value: path?.value ?? '/', ignoreCase: false },
    ...(method === undefined ? {} : { method: { kind: 'EXACT', value: method, ignoreCase: false } }),
    headers: headers.map(({ name, type, value }) => named(name.toLowerCase(), type, value)),
    query: queryParams.map(({ name, type, value }) => named(name, type, value)),
  };
}

function named(name: string, type: 'Exact' | 'RegularExpression' | undefined, value: string): NamedMatch {
  const match: TextMatch = { kind: type === 'RegularExpression' ? 'REGEX' : 'EXACT', value, ignoreCase: false };
  return { name, match, invert: false };
}

/** A Gateway API duration (`1h30m`, `500ms`); 0 for none. */
export function durationMs(text: string | undefined): number {
  const units = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;
  let total = 0;
  for (const [, amount, unit] of (text ?? '').matchAll(/(\d+)(ms|h|m|s)/g)) {
    total += Number(amount) * units[unit as keyof typeof units]; // the pattern allows these four only
  }
  return total;
}

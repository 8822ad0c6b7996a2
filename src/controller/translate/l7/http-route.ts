/** HTTPRoute to routes. Source: Gateway API v1.4, with the parents of its mesh profile and the waypoint Gateway. */
import {
  type HttpMatch,
  type HttpRoute,
  type NamedMatch,
  type RetryPolicy,
  regexFault,
  type SessionPersistence,
  toRoute,
} from '../../../model/l7/index.ts';
import type { HttpRouteMatch, HttpRouteRule, SessionPersistenceSpec } from '../../../schema/index.ts';
import { type HttpRouteObject, nameOf } from '../../resources.ts';
import { MESH_RETRY } from './mesh-retry.ts';
import { resolveBackend, translateBackends } from './route-backends.ts';
import { type TranslatedFilters, translateFilters } from './route-filters.ts';
import { attachRoutes, type RouteSurroundings, referrerOf, type TranslatedRoute } from './route-parents.ts';
import { type Checked, unsupported } from './route-problem.ts';

export function translateHttpRoute(object: HttpRouteObject, around: RouteSurroundings): TranslatedRoute {
  const rules = (object.spec.rules ?? []).map((rule, index) => translateRule(rule, { index, object, around }));
  return attachRoutes(object, around, {
    hosts: object.spec.hostnames ?? [],
    http: rules.flatMap(({ value }) => value),
    l4: [],
    rules: rules.length,
    problems: rules.flatMap(({ problems }) => problems),
  });
}

interface RuleContext {
  readonly index: number;
  readonly object: HttpRouteObject;
  readonly around: RouteSurroundings;
}

function translateRule(rule: HttpRouteRule, { index, object, around }: RuleContext): Checked<readonly HttpRoute[]> {
  const { matches = [{}], timeouts, retry, sessionPersistence } = rule;
  const from = referrerOf(object, around);
  const fault = matches.flatMap(matchFaults)[0];
  if (fault !== undefined) return { value: [], problems: [unsupported(`Dropped Rule ${index}: ${fault}`)] };
  const backends = translateBackends(rule.backendRefs ?? [], from, around.catalog);
  const filters = translateFilters(rule.filters ?? [], (ref) => resolveBackend(ref, from, around.catalog));
  const requestMs = durationMs(timeouts?.request);
  const backendMs = durationMs(timeouts?.backendRequest);
  const perTryTimeoutMs = retry ? backendMs : 0;
  const route = {
    name: `${nameOf(object)}.${rule.name ?? index}`,
    action: ruleAction(filters, backends.value),
    ...routeFilters(filters.value),
    timeoutMs: timeouts?.request === undefined && !retry ? backendMs : requestMs,
    ...(retry ? { retry: toRetry(retry, perTryTimeoutMs) } : {}),
  };
  const given = matches.length > 0 ? matches : [{}];
  const value = given.map((match) =>
    toRoute({
      ...route,
      match: toMatch(match),
      ...(sessionPersistence ? { sessionPersistence: toPersistence(sessionPersistence, match.path?.value) } : {}),
    }),
  );
  return { value, problems: [...backends.problems, ...filters.problems] };
}

/** A rule with a filter that cannot be honoured, or without a backend of any weight, answers with 500. */
export function ruleAction(
  { value: { redirect }, problems }: Checked<TranslatedFilters>,
  backends: Checked<Extract<HttpRoute['action'], { kind: 'FORWARD' }>['backends']>['value'],
): HttpRoute['action'] {
  const isHonoured = problems.every(({ reason }) => reason !== 'InvalidFilter');
  if (isHonoured && redirect) return { kind: 'REDIRECT', redirect };
  if (isHonoured && backends.some(({ weight }) => weight > 0)) return { kind: 'FORWARD', backends };
  return { kind: 'RESPOND', response: { status: 500, body: '', contentType: '' } };
}

/** What filters say of a route beside its action. */
export function routeFilters({ redirect: _, ...rest }: TranslatedFilters): Omit<TranslatedFilters, 'redirect'> {
  return rest;
}

const PATH_KINDS = { Exact: 'EXACT', PathPrefix: 'SEGMENTS', RegularExpression: 'REGEX' } as const;
const METHOD = /^[A-Z]+$/;

function matchFaults({ path, headers = [], queryParams = [], method }: HttpRouteMatch): readonly string[] {
  const faults: (string | undefined)[] = [];
  if (path?.type === 'RegularExpression') faults.push(regexFault(path.value ?? '/'));
  else if (path?.value !== undefined && !path.value.startsWith('/'))
    faults.push(`path ${path.value} does not start with /`);
  if (method !== undefined && !METHOD.test(method)) faults.push(`method ${method} is none`);
  return [...faults, ...namedFaults([...headers, ...queryParams])].filter((fault) => fault !== undefined);
}

type NamedValue = NonNullable<HttpRouteMatch['headers']>[number];

export function namedFaults(values: readonly NamedValue[]): readonly string[] {
  const faults = values.map(({ type, value }) => (type === 'RegularExpression' ? regexFault(value) : undefined));
  return faults.filter((fault) => fault !== undefined);
}

function toMatch({ path, headers = [], queryParams = [], method }: HttpRouteMatch): HttpMatch {
  return {
    path: { kind: PATH_KINDS[path?.type ?? 'PathPrefix'], value: path?.value ?? '/', ignoreCase: false },
    ...(method === undefined ? {} : { method: { kind: 'EXACT', value: method, ignoreCase: false } }),
    headers: toNamed(headers, (name) => name.toLowerCase()),
    query: toNamed(queryParams, (name) => name),
  };
}

/** Of entries with the same name only the first counts. */
export function toNamed(values: readonly NamedValue[], toName: (name: string) => string): readonly NamedMatch[] {
  const found = new Map<string, NamedMatch>();
  for (const { name, type, value } of values) {
    const key = toName(name);
    const kind = type === 'RegularExpression' ? 'REGEX' : 'EXACT';
    if (!found.has(key)) found.set(key, { name: key, match: { kind, value, ignoreCase: false }, invert: false });
  }
  return [...found.values()];
}

function toRetry(
  { attempts = 2, codes = [], backoff }: NonNullable<HttpRouteRule['retry']>,
  perTryTimeoutMs: number,
): RetryPolicy {
  const baseMs = durationMs(backoff);
  return {
    ...MESH_RETRY,
    attempts,
    perTryTimeoutMs,
    statusCodes: codes,
    ...(baseMs > 0 ? { backoffBaseMs: baseMs, backoffMaxMs: 10 * baseMs } : {}),
  };
}

const SESSION_NAME = 'mesh-session';

export function toPersistence(spec: SessionPersistenceSpec, path: string | undefined): SessionPersistence {
  const { sessionName = SESSION_NAME, type = 'Cookie', absoluteTimeout, cookieConfig } = spec;
  const isPermanent = cookieConfig?.lifetimeType === 'Permanent';
  return {
    kind: type === 'Header' ? 'HEADER' : 'COOKIE',
    name: type === 'Header' ? sessionName.toLowerCase() : sessionName,
    ttlSeconds: isPermanent ? Math.ceil(durationMs(absoluteTimeout) / 1_000) : 0,
    path: path?.startsWith('/') ? path : '/',
  };
}

/** A Gateway API duration (`1h30m`, `500ms`); 0 for none. */
export function durationMs(text: string | undefined): number {
  const units = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;
  let total = 0;
  for (const [, amount, unit] of (text ?? '').matchAll(/(\d+(?:\.\d+)?)(ms|h|m|s)/g)) {
    total += Number(amount) * units[unit as keyof typeof units]; // the pattern allows these four only
  }
  return Math.round(total);
}

/** HTTP routes of a VirtualService, as they stand, for one service port. Source: Istio HTTPRoute. */
import {
  ANY_REQUEST,
  type CorsPolicy,
  type Fault,
  type HeaderModifier,
  type HttpAction,
  type HttpRoute,
  type Mirror,
  NO_HEADERS,
  type PathModifier,
  type Redirect,
  type RetryPolicy,
  regexFault,
  toRoute,
  type UrlRewrite,
} from '../../../../model/l7/index.ts';
import type { HeaderOperationsSpec, VirtualHttpRoute } from '../../../../schema/index.ts';
import { durationMs } from '../http-route.ts';
import { MESH_RETRY } from '../mesh-retry.ts';
import { type DestinationContext, toWeightedBackend } from './destination.ts';
import { toTextMatch, translateMatch } from './virtual-match.ts';

/** One route of the object makes a route for each of its matches. */
export function translateVirtualRoute(
  route: VirtualHttpRoute,
  name: string,
  context: DestinationContext,
): readonly HttpRoute[] {
  const action = toAction(route, context);
  const fault = toFault(route.fault, context.report);
  const cors = route.corsPolicy && toCors(route.corsPolicy);
  const matches = route.match && route.match.length > 0 ? route.match : [{}];
  return matches.flatMap((given) => {
    const translated = translateMatch(given);
    if (typeof translated === 'string') {
      context.report(`route ${name}: ${translated}; the match is left out`);
      return [];
    }
    const { match, port } = translated;
    if (port !== undefined && port !== context.port) return [];
    const rewrite = toRewrite(route, match.path?.kind, context.report);
    return [
      toRoute({
        name: given.name ? `${name}.${given.name}` : name,
        match: isAny(match) ? ANY_REQUEST : match,
        action,
        ...(rewrite ? { rewrite } : {}),
        requestHeaders: toModifier(route.headers?.request),
        responseHeaders: toModifier(route.headers?.response),
        mirrors: toMirrors(route, context),
        ...(cors ? { cors } : {}),
        ...(fault ? { fault } : {}),
        timeoutMs: durationMs(route.timeout),
        ...(route.retries ? { retry: toRetry(route.retries) } : {}),
      }),
    ];
  });
}

function isAny({ path, method, authority, scheme, headers, query, clientNamespace }: HttpRoute['match']): boolean {
  return ![path, method, authority, scheme, clientNamespace].some(Boolean) && headers.length + query.length === 0;
}

function toAction(route: VirtualHttpRoute, context: DestinationContext): HttpAction {
  if (route.redirect) return { kind: 'REDIRECT', redirect: toRedirect(route.redirect) };
  if (route.directResponse) {
    const { status, body } = route.directResponse;
    const text = body?.bytes ?? Buffer.from(body?.string ?? '').toString('base64');
    return { kind: 'RESPOND', response: { status, body: text, contentType: '' } };
  }
  const given = route.route ?? [];
  const isOnly = given.length === 1;
  const backends = given.map(({ destination, weight = 0, headers }) => ({
    ...toWeightedBackend(destination, isOnly && weight === 0 ? 100 : weight, context),
    requestHeaders: toModifier(headers?.request),
    responseHeaders: toModifier(headers?.response),
  }));
  if (backends.some(({ weight }) => weight > 0)) return { kind: 'FORWARD', backends };
  context.report('a route has no destination of any weight: it answers with 503');
  return { kind: 'RESPOND', response: { status: 503, body: '', contentType: '' } };
}

/** `host` in a request is its authority, and is set by the rewrite. */
export function toModifier(operations: HeaderOperationsSpec['request']): HeaderModifier {
  if (!operations) return NO_HEADERS;
  const { set = {}, add = {}, remove = [] } = operations;
  const list = (map: Readonly<Record<string, string>>) =>
    Object.entries(map)
      .map(([name, value]) => ({ name: name.toLowerCase(), value }))
      .filter(({ name }) => !isAuthority(name));
  return { set: list(set), add: list(add), remove: remove.map((name) => name.toLowerCase()) };
}

function isAuthority(name: string): boolean {
  return name === 'host' || name === ':authority';
}

function toRewrite(
  { rewrite, headers }: VirtualHttpRoute,
  matched: string | undefined,
  report: DestinationContext['report'],
): UrlRewrite | undefined {
  const set = Object.entries(headers?.request?.set ?? {}).find(([name]) => isAuthority(name.toLowerCase()))?.[1];
  const hostname = rewrite?.authority ?? set;
  const path = toPathModifier(rewrite, matched, report);
  if (hostname === undefined && !path) return undefined;
  return { ...(hostname === undefined ? {} : { hostname }), ...(path ? { path } : {}) };
}

function toPathModifier(
  rewrite: VirtualHttpRoute['rewrite'],
  matched: string | undefined,
  report: DestinationContext['report'],
): PathModifier | undefined {
  const { match, rewrite: replacement } = rewrite?.uriRegexRewrite ?? {};
  if (match !== undefined && replacement !== undefined) {
    const fault = regexFault(match);
    if (fault === undefined) return { kind: 'REGEX', value: replacement, pattern: match };
    report(`uriRegexRewrite: ${fault}; the path is not rewritten`);
    return undefined;
  }
  if (rewrite?.uri === undefined) return undefined;
  const isWhole = matched === 'EXACT' || matched === 'REGEX';
  return { kind: isWhole ? 'FULL' : 'PREFIX', value: rewrite.uri, pattern: '' };
}

const PREFIX_WORD = '%PREFIX()%';

function toRedirect(redirect: NonNullable<VirtualHttpRoute['redirect']>): Redirect {
  const { uri, authority, port, derivePort, scheme, redirectCode } = redirect;
  const path: PathModifier | undefined =
    uri === undefined
      ? undefined
      : uri.startsWith(PREFIX_WORD)
        ? { kind: 'PREFIX', value: uri.slice(PREFIX_WORD.length), pattern: '' }
        : { kind: 'FULL', value: uri, pattern: '' };
  const derived = derivePort === 'FROM_PROTOCOL_DEFAULT' ? (scheme === 'https' ? 443 : 80) : undefined;
  const chosen = port ?? derived;
  return {
    status: redirectCode ?? 301,
    ...(scheme === undefined ? {} : { scheme }),
    ...(authority === undefined ? {} : { hostname: authority }),
    ...(chosen === undefined ? {} : { port: chosen }),
    ...(path ? { path } : {}),
    stripQuery: false,
  };
}

function toMirrors(route: VirtualHttpRoute, context: DestinationContext): readonly Mirror[] {
  const { mirror, mirrors = [], mirrorPercentage, mirrorPercent } = route;
  const old = mirror ? [{ destination: mirror, percent: shareOf(mirrorPercentage, mirrorPercent) }] : [];
  const all = [...old, ...mirrors.map((one) => ({ destination: one.destination, percent: shareOf(one.percentage) }))];
  return all.flatMap(({ destination, percent }) => {
    const { cluster, port, subset, failStatus } = toWeightedBackend(destination, 1, context);
    return failStatus === 0 ? [{ backend: { cluster, port, subset }, percent }] : [];
  });
}

/** All without a percentage; nothing with one that has no value. */
function shareOf(percentage: { readonly value?: number | undefined } | undefined, old?: number): number {
  return percentage ? (percentage.value ?? 0) : (old ?? 100);
}

const GRPC_CODES: readonly string[] = [
  ...['OK', 'CANCELLED', 'UNKNOWN', 'INVALID_ARGUMENT', 'DEADLINE_EXCEEDED', 'NOT_FOUND', 'ALREADY_EXISTS'],
  ...['PERMISSION_DENIED', 'RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION', 'ABORTED', 'OUT_OF_RANGE', 'UNIMPLEMENTED'],
  ...['INTERNAL', 'UNAVAILABLE', 'DATA_LOSS', 'UNAUTHENTICATED'],
];

function toFault(fault: VirtualHttpRoute['fault'], report: DestinationContext['report']): Fault | undefined {
  const { delay, abort } = fault ?? {};
  const result: { delay?: Fault['delay']; abort?: Fault['abort'] } = {};
  if (delay?.fixedDelay !== undefined) {
    result.delay = { delayMs: durationMs(delay.fixedDelay), percent: shareOf(delay.percentage, delay.percent) };
  } else if (delay) report('fault.delay: only fixedDelay is served');
  if (abort) {
    const percent = shareOf(abort.percentage, abort.percent);
    const grpcStatus = grpcCode(abort.grpcStatus);
    if (abort.httpStatus !== undefined) result.abort = { httpStatus: abort.httpStatus, percent };
    else if (grpcStatus >= 0) result.abort = { httpStatus: 200, grpcStatus, percent };
    else report('fault.abort: httpStatus or a known grpcStatus is needed');
  }
  return result.delay || result.abort ? (result as Fault) : undefined;
}

function grpcCode(text: string | undefined): number {
  if (text === undefined) return -1;
  return /^\d{1,2}$/.test(text) && Number(text) < GRPC_CODES.length ? Number(text) : GRPC_CODES.indexOf(text);
}

function toRetry(retries: NonNullable<VirtualHttpRoute['retries']>): RetryPolicy {
  const { attempts = 0, perTryTimeout, retryOn, backoff, retryRemoteLocalities, retryIgnorePreviousHosts } = retries;
  const words = (retryOn ?? '').split(',').map((word) => word.trim());
  const codes = words.filter((word) => /^\d{3}$/.test(word));
  const conditions = words.filter((word) => word !== '' && !codes.includes(word));
  const baseMs = durationMs(backoff);
  return {
    ...MESH_RETRY,
    attempts,
    perTryTimeoutMs: durationMs(perTryTimeout),
    retryOn: retryOn ? conditions : MESH_RETRY.retryOn,
    statusCodes: codes.map(Number),
    ...(baseMs > 0 ? { backoffBaseMs: baseMs, backoffMaxMs: 10 * baseMs } : {}),
    avoidPreviousHosts: retryIgnorePreviousHosts ?? true,
    remoteLocalities: retryRemoteLocalities ?? false,
    hedge: conditions.includes('hedge-on-per-try-timeout'),
  };
}

function toCors(cors: NonNullable<VirtualHttpRoute['corsPolicy']>): CorsPolicy {
  const old = (cors.allowOrigin ?? []).map((exact) => (exact === '*' ? { regex: '.*' } : { exact }));
  const origins = [...old, ...(cors.allowOrigins ?? [])]
    .map((one) => toTextMatch(one))
    .filter((one) => one !== undefined);
  return {
    origins: origins.filter(({ kind, value }) => kind !== 'REGEX' || regexFault(value) === undefined),
    methods: cors.allowMethods ?? [],
    requestHeaders: cors.allowHeaders ?? [],
    exposedHeaders: cors.exposeHeaders ?? [],
    ...(cors.maxAge === undefined ? {} : { maxAgeSeconds: Math.round(durationMs(cors.maxAge) / 1_000) }),
    credentials: cors.allowCredentials ?? false,
    forwardUnmatched: cors.unmatchedPreflights !== 'IGNORE',
  };
}

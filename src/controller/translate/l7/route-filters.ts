/**
 * Filters of HTTPRoute and GRPCRoute rules.
 * A filter that cannot be honoured is never skipped: its rule answers with 500, and the status says so.
 * Source: Gateway API (HTTPRouteFilter, GRPCRouteFilter), Istio control plane (header values that are refused).
 */
import type { CorsPolicy, Mirror, PathModifier, Redirect, TextMatch, UrlRewrite } from '../../../model/l7/index.ts';
import type { BackendRefSpec, RouteFilter } from '../../../schema/index.ts';
import { type HeaderFilters, headersOf } from './route-headers.ts';
import { type Checked, invalidFilter, isProblem, type ResolvedBackend, type RouteProblem } from './route-problem.ts';

export interface TranslatedFilters extends HeaderFilters {
  readonly rewrite?: UrlRewrite;
  readonly redirect?: Redirect;
  readonly mirrors: readonly Mirror[];
  readonly cors?: CorsPolicy;
}

const REDIRECT_STATUSES: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** Everything but a mirror may stand once in a rule. */
const REPEATABLE: ReadonlySet<string> = new Set(['RequestMirror']);
const GRPC_FILTERS: ReadonlySet<string> = new Set(['RequestHeaderModifier', 'ResponseHeaderModifier', 'RequestMirror']);

/** @param allowed the types that may stand here; undefined: those of HTTPRoute */
export function translateFilters(
  filters: readonly RouteFilter[],
  resolve: (ref: BackendRefSpec) => ResolvedBackend,
  kind: 'HTTPRoute' | 'GRPCRoute' = 'HTTPRoute',
): Checked<TranslatedFilters> {
  const problems: RouteProblem[] = [...repeated(filters)];
  const mirrors: Mirror[] = [];
  const headers = headersOf(filters);
  problems.push(...headers.problems);
  let rest: Omit<TranslatedFilters, 'mirrors'> = headers.value;
  for (const filter of filters) {
    if (kind === 'GRPCRoute' && !GRPC_FILTERS.has(filter.type)) {
      problems.push(invalidFilter(`filter ${filter.type} is not for GRPCRoute`));
      continue;
    }
    switch (filter.type) {
      case 'RequestHeaderModifier':
      case 'ResponseHeaderModifier':
        break;
      case 'RequestMirror': {
        const mirror = toMirror(filter, resolve);
        if ('reason' in mirror) problems.push(mirror);
        else mirrors.push(mirror);
        break;
      }
      case 'RequestRedirect':
        if (REDIRECT_STATUSES.has(filter.requestRedirect?.statusCode ?? 302)) {
          rest = { ...rest, redirect: toRedirect(filter) };
        } else problems.push(invalidFilter(`redirect status ${filter.requestRedirect?.statusCode} is not supported`));
        break;
      case 'URLRewrite':
        rest = { ...rest, rewrite: toRewrite(filter) };
        break;
      case 'CORS':
        rest = { ...rest, cors: toCors(filter) };
        break;
      default:
        problems.push(invalidFilter(`unsupported filter type ${filter.type}`));
    }
  }
  if (rest.redirect && rest.rewrite) problems.push(invalidFilter('RequestRedirect and URLRewrite exclude each other'));
  return { value: { ...rest, mirrors }, problems };
}

function repeated(filters: readonly RouteFilter[]): readonly RouteProblem[] {
  const types = filters.map(({ type }) => type).filter((type) => !REPEATABLE.has(type));
  const twice = types.filter((type, index) => types.indexOf(type) !== index);
  return [...new Set(twice)].map((type) => invalidFilter(`filter ${type} stands more than once in a rule`));
}

function toMirror(
  { requestMirror }: RouteFilter,
  resolve: (ref: BackendRefSpec) => ResolvedBackend,
): Mirror | RouteProblem {
  if (!requestMirror) return invalidFilter('RequestMirror without requestMirror');
  const resolved = resolve(requestMirror.backendRef);
  if (isProblem(resolved)) return resolved;
  const { percent, fraction } = requestMirror;
  const share = fraction ? (100 * fraction.numerator) / (fraction.denominator ?? 100) : (percent ?? 100);
  return { backend: { ...resolved, subset: '' }, percent: Math.min(100, share) };
}

function toRedirect({ requestRedirect = {} }: RouteFilter): Redirect {
  const { scheme, hostname, port, path, statusCode } = requestRedirect;
  return {
    status: statusCode ?? 302,
    ...(scheme === undefined ? {} : { scheme }),
    ...(hostname === undefined ? {} : { hostname }),
    ...(port === undefined ? {} : { port }),
    ...(path ? { path: toPathModifier(path) } : {}),
    stripQuery: false,
  };
}

function toRewrite({ urlRewrite = {} }: RouteFilter): UrlRewrite {
  const { hostname, path } = urlRewrite;
  return { ...(hostname === undefined ? {} : { hostname }), ...(path ? { path: toPathModifier(path) } : {}) };
}

function toPathModifier(path: NonNullable<NonNullable<RouteFilter['urlRewrite']>['path']>): PathModifier {
  return path.type === 'ReplaceFullPath'
    ? { kind: 'FULL', value: path.replaceFullPath ?? '/', pattern: '' }
    : { kind: 'PREFIX', value: path.replacePrefixMatch ?? '/', pattern: '' };
}

function toCors({ cors = {} }: RouteFilter): CorsPolicy {
  return {
    origins: (cors.allowOrigins ?? []).map(toOrigin),
    methods: cors.allowMethods ?? [],
    requestHeaders: cors.allowHeaders ?? [],
    exposedHeaders: cors.exposeHeaders ?? [],
    ...(cors.maxAge === undefined ? {} : { maxAgeSeconds: cors.maxAge }),
    credentials: cors.allowCredentials ?? false,
    forwardUnmatched: true,
  };
}

/** `*` is any origin; a `*` within stands for any text. */
export function toOrigin(text: string): TextMatch {
  if (text === '*') return { kind: 'PRESENCE', value: '', ignoreCase: false };
  if (!text.includes('*')) return { kind: 'EXACT', value: text, ignoreCase: false };
  const escaped = text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll('\\*', '.*');
  return { kind: 'REGEX', value: escaped, ignoreCase: false };
}

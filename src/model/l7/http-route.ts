/**
 * Routes of HTTP requests, the same for Gateway API and Istio: translators of both write this vocabulary, the waypoint
 * compiles it once per change.
 *
 * Invariants
 *  - Routes of a virtual host are in order of precedence: the first that matches is taken.
 *  - A route has exactly one match; a rule with several is several routes.
 * Source: Gateway API HTTPRoute, Istio VirtualService.
 */
import type { NamedMatch, TextMatch } from './text-match.ts';

export interface VirtualHost {
  readonly name: string;
  /** `*`, `*.example.com`, or a name; without port, lower-case. The longest that fits the request is taken. */
  readonly hosts: readonly string[];
  /** Only clients of these namespaces (consumer routes); empty: everybody. Hosts meant for a client come first. */
  readonly clientNamespaces: readonly string[];
  readonly routes: readonly HttpRoute[];
}

export interface HttpRoute {
  /** `<namespace>/<object>.<rule>`: stands in logs, metrics and rate limits. */
  readonly name: string;
  readonly match: HttpMatch;
  readonly action: HttpAction;
  readonly rewrite?: UrlRewrite;
  readonly requestHeaders: HeaderModifier;
  readonly responseHeaders: HeaderModifier;
  readonly mirrors: readonly Mirror[];
  readonly cors?: CorsPolicy;
  readonly fault?: Fault;
  /** The whole exchange, retries included; 0: none. */
  readonly timeoutMs: number;
  /** Absent: the retry policy of the mesh. `attempts` 0: none. */
  readonly retry?: RetryPolicy;
  readonly sessionPersistence?: SessionPersistence;
  /** Keys of the rate limit policies that are attached to the route. */
  readonly rateLimits: readonly string[];
}

/** An AND of everything given. */
export interface HttpMatch {
  readonly path?: PathMatch;
  readonly method?: TextMatch;
  readonly authority?: TextMatch;
  readonly scheme?: TextMatch;
  readonly headers: readonly NamedMatch[];
  /** First value of each parameter. */
  readonly query: readonly NamedMatch[];
  readonly clientNamespace?: string;
}

export interface PathMatch {
  /** `SEGMENTS`: prefix by whole path segments, a trailing `/` ignored. `PREFIX`: by characters. The path has no query. */
  readonly kind: 'EXACT' | 'PREFIX' | 'SEGMENTS' | 'REGEX';
  readonly value: string;
  readonly ignoreCase: boolean;
}

export type HttpAction =
  | { readonly kind: 'FORWARD'; readonly backends: readonly WeightedBackend[] }
  | { readonly kind: 'REDIRECT'; readonly redirect: Redirect }
  | { readonly kind: 'RESPOND'; readonly response: DirectResponse };

/** A service port, or a subset of its endpoints. */
export interface BackendRef {
  /** Key of the cluster, `namespace/hostname`. */
  readonly cluster: string;
  readonly port: number;
  /** Empty: all endpoints. */
  readonly subset: string;
}

/** Chosen per request with a probability of `weight` by the sum of weights. */
export interface WeightedBackend extends BackendRef {
  readonly weight: number;
  /** Not 0: the backend is not usable, and its share of the requests gets this status. */
  readonly failStatus: number;
  readonly requestHeaders: HeaderModifier;
  readonly responseHeaders: HeaderModifier;
}

export interface Redirect {
  readonly status: number;
  readonly scheme?: string;
  readonly hostname?: string;
  /** Absent: of the scheme when one is given, else the request's. */
  readonly port?: number;
  readonly path?: PathModifier;
  /** Drops the query. */
  readonly stripQuery: boolean;
}

export interface DirectResponse {
  readonly status: number;
  /** base64. */
  readonly body: string;
  readonly contentType: string;
}

export interface PathModifier {
  /** `PREFIX` replaces what the route's prefix matched; `REGEX` every match of `pattern`, with `\1` for groups. */
  readonly kind: 'FULL' | 'PREFIX' | 'REGEX';
  readonly value: string;
  readonly pattern: string;
}

export interface UrlRewrite {
  readonly hostname?: string;
  readonly path?: PathModifier;
}

export interface Header {
  /** Lower-case. */
  readonly name: string;
  readonly value: string;
}

/** Applied in the order remove, set, add. */
export interface HeaderModifier {
  readonly set: readonly Header[];
  readonly add: readonly Header[];
  readonly remove: readonly string[];
}

export interface Mirror {
  readonly backend: BackendRef;
  /** Share of the requests, 0 to 100. */
  readonly percent: number;
}

export interface CorsPolicy {
  readonly origins: readonly TextMatch[];
  readonly methods: readonly string[];
  readonly requestHeaders: readonly string[];
  readonly exposedHeaders: readonly string[];
  readonly maxAgeSeconds?: number;
  readonly credentials: boolean;
  /** Preflights of other origins go to the backend instead of being answered here. */
  readonly forwardUnmatched: boolean;
}

export interface Fault {
  readonly delay?: { readonly delayMs: number; readonly percent: number };
  readonly abort?: { readonly httpStatus: number; readonly grpcStatus?: number; readonly percent: number };
}

export interface RetryPolicy {
  /** Tries after the first. */
  readonly attempts: number;
  /** 0: none but the route's. */
  readonly perTryTimeoutMs: number;
  /** Envoy's words: `5xx`, `gateway-error`, `connect-failure`, `reset`, `unavailable`, ... */
  readonly retryOn: readonly string[];
  readonly statusCodes: readonly number[];
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
  /** Prefers endpoints that were not tried. */
  readonly avoidPreviousHosts: boolean;
  /** Tries may leave the locality of the first. */
  readonly remoteLocalities: boolean;
  /** Starts the next try at the per-try timeout without giving up the first. */
  readonly hedge: boolean;
}

export interface SessionPersistence {
  readonly kind: 'COOKIE' | 'HEADER';
  readonly name: string;
  /** 0: a cookie of the browser session. */
  readonly ttlSeconds: number;
  readonly path: string;
}

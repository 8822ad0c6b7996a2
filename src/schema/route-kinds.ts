/** Routes of gateway.networking.k8s.io and the grants they need. Source: Gateway API v1.4, experimental fields included. */
import { z } from 'zod';
import { type KindDefinition, name, type Plain, portNumber, text, texts } from './kind.ts';

/** `1h30m`, `500ms`. Source: GEP-2257. */
const routeDuration = z.string().regex(/^([0-9]{1,5}(h|m|s|ms)){1,4}$/, 'is not a duration such as 5s or 1m30s');

const parentRef = z.looseObject({
  group: text.optional(),
  kind: text.optional(),
  namespace: text.optional(),
  name,
  sectionName: text.optional(),
  port: portNumber.optional(),
});
const backendRef = z.looseObject({
  group: text.optional(),
  kind: text.optional(),
  namespace: text.optional(),
  name,
  port: portNumber.optional(),
  weight: z.int().min(0).max(1_000_000).optional(),
});

const valueMatch = z.enum(['Exact', 'RegularExpression']).optional();
const namedValues = z.array(z.looseObject({ type: valueMatch, name, value: text })).optional();
const httpRouteMatch = z.looseObject({
  path: z
    .looseObject({ type: z.enum(['Exact', 'PathPrefix', 'RegularExpression']).optional(), value: text.optional() })
    .optional(),
  headers: namedValues,
  queryParams: namedValues,
  method: text.optional(),
});
const headerList = z.array(z.looseObject({ name, value: text })).optional();
const headerModifier = z.looseObject({ set: headerList, add: headerList, remove: texts }).optional();
const pathModifier = z
  .looseObject({
    type: z.enum(['ReplaceFullPath', 'ReplacePrefixMatch']),
    replaceFullPath: text.optional(),
    replacePrefixMatch: text.optional(),
  })
  .optional();
const routeFilter = z.looseObject({
  type: name,
  requestHeaderModifier: headerModifier,
  responseHeaderModifier: headerModifier,
  requestMirror: z
    .looseObject({
      backendRef,
      percent: z.int().min(0).max(100).optional(),
      fraction: z.looseObject({ numerator: z.int().min(0), denominator: z.int().min(1).optional() }).optional(),
    })
    .optional(),
  requestRedirect: z
    .looseObject({
      scheme: z.enum(['http', 'https']).optional(),
      hostname: text.optional(),
      path: pathModifier,
      port: portNumber.optional(),
      statusCode: z.int().min(300).max(399).optional(),
    })
    .optional(),
  urlRewrite: z.looseObject({ hostname: text.optional(), path: pathModifier }).optional(),
  cors: z
    .looseObject({
      allowOrigins: texts,
      allowCredentials: z.boolean().optional(),
      allowMethods: texts,
      allowHeaders: texts,
      exposeHeaders: texts,
      maxAge: z.int().min(1).optional(),
    })
    .optional(),
  extensionRef: z.looseObject({ group: text, kind: text, name }).optional(),
});
const filteredBackendRef = backendRef.extend({ filters: z.array(routeFilter).optional() });
const sessionPersistence = z
  .looseObject({
    sessionName: text.optional(),
    absoluteTimeout: routeDuration.optional(),
    idleTimeout: routeDuration.optional(),
    type: z.enum(['Cookie', 'Header']).optional(),
    cookieConfig: z.looseObject({ lifetimeType: z.enum(['Permanent', 'Session']).optional() }).optional(),
  })
  .optional();
const retry = z
  .looseObject({
    codes: z.array(z.int().min(400).max(599)).optional(),
    attempts: z.int().min(0).max(100).optional(),
    backoff: routeDuration.optional(),
  })
  .optional();

const httpRouteRule = z.looseObject({
  name: text.optional(),
  matches: z.array(httpRouteMatch).max(64).optional(),
  filters: z.array(routeFilter).optional(),
  backendRefs: z.array(filteredBackendRef).optional(),
  timeouts: z.looseObject({ request: routeDuration.optional(), backendRequest: routeDuration.optional() }).optional(),
  retry,
  sessionPersistence,
});

const grpcRouteRule = z.looseObject({
  name: text.optional(),
  matches: z
    .array(
      z.looseObject({
        method: z.looseObject({ type: valueMatch, service: text.optional(), method: text.optional() }).optional(),
        headers: namedValues,
      }),
    )
    .max(64)
    .optional(),
  filters: z.array(routeFilter).optional(),
  backendRefs: z.array(filteredBackendRef).optional(),
  sessionPersistence,
});

const l4RouteRule = z.looseObject({ name: text.optional(), backendRefs: z.array(backendRef).optional() });

const parentRefs = z.array(parentRef).max(32).optional();
const hostnames = z.array(text).max(16).optional();
const status = z.looseObject({ parents: z.array(z.looseObject({ parentRef, controllerName: text })).optional() });

const httpRouteBody = z.looseObject({
  spec: z.looseObject({ parentRefs, hostnames, rules: z.array(httpRouteRule).optional() }),
  status: status.optional(),
});
const grpcRouteBody = z.looseObject({
  spec: z.looseObject({ parentRefs, hostnames, rules: z.array(grpcRouteRule).optional() }),
  status: status.optional(),
});
const tlsRouteBody = z.looseObject({
  spec: z.looseObject({ parentRefs, hostnames, rules: z.array(l4RouteRule).optional() }),
  status: status.optional(),
});
const tcpRouteBody = z.looseObject({
  spec: z.looseObject({ parentRefs, rules: z.array(l4RouteRule).optional() }),
  status: status.optional(),
});

const referenceGrantBody = z.looseObject({
  spec: z.looseObject({
    from: z.array(z.looseObject({ group: text, kind: name, namespace: name })),
    to: z.array(z.looseObject({ group: text, kind: name, name: text.optional() })),
  }),
});

export type HttpRouteBody = Plain<z.infer<typeof httpRouteBody>>;
export type HttpRouteRule = Plain<z.infer<typeof httpRouteRule>>;
export type HttpRouteMatch = Plain<z.infer<typeof httpRouteMatch>>;
export type RouteFilter = Plain<z.infer<typeof routeFilter>>;
export type GrpcRouteBody = Plain<z.infer<typeof grpcRouteBody>>;
export type GrpcRouteRule = Plain<z.infer<typeof grpcRouteRule>>;
export type TlsRouteBody = Plain<z.infer<typeof tlsRouteBody>>;
export type TcpRouteBody = Plain<z.infer<typeof tcpRouteBody>>;
export type L4RouteRule = Plain<z.infer<typeof l4RouteRule>>;
export type ReferenceGrantBody = Plain<z.infer<typeof referenceGrantBody>>;
export type BackendRefSpec = Plain<z.infer<typeof backendRef>>;
export type FilteredBackendRef = Plain<z.infer<typeof filteredBackendRef>>;
export type ParentRef = Plain<z.infer<typeof parentRef>>;
export type SessionPersistenceSpec = NonNullable<Plain<z.infer<typeof sessionPersistence>>>;

const VERSIONS = ['v1', 'v1beta1', 'v1alpha2', 'v1alpha3'] as const;

function routeKind(
  kind: string,
  plural: string,
  { body, serving = 'served' }: { readonly body: z.ZodObject; readonly serving?: KindDefinition['serving'] },
): KindDefinition {
  return { group: 'gateway.networking.k8s.io', kind, plural, versions: VERSIONS, serving, body };
}

export const ROUTE_KINDS: readonly KindDefinition[] = [
  routeKind('HTTPRoute', 'httproutes', { body: httpRouteBody }),
  routeKind('GRPCRoute', 'grpcroutes', { body: grpcRouteBody }),
  routeKind('TCPRoute', 'tcproutes', { body: tcpRouteBody }),
  routeKind('TLSRoute', 'tlsroutes', { body: tlsRouteBody }),
  routeKind('ReferenceGrant', 'referencegrants', { body: referenceGrantBody, serving: 'passive' }),
];

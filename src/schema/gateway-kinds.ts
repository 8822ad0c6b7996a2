/** gateway.networking.k8s.io, as far as it is read. Its CRDs are those of the Gateway API project. Source: v1.3. */
import { z } from 'zod';
import { anything, condition, type KindDefinition, labelSelector, name, type Plain, portNumber, text } from './kind.ts';

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

const listener = z.looseObject({
  name,
  port: portNumber,
  protocol: name,
  hostname: text.optional(),
  allowedRoutes: z
    .looseObject({
      namespaces: z
        .looseObject({
          from: z.enum(['Same', 'All', 'Selector', 'None']).optional(),
          selector: labelSelector.optional(),
        })
        .optional(),
    })
    .optional(),
});

const gatewayBody = z.looseObject({
  spec: z.looseObject({ gatewayClassName: name, listeners: z.array(listener).max(64).optional() }),
  status: z
    .looseObject({
      addresses: z.array(z.looseObject({ type: text.nullish(), value: text })).optional(),
      conditions: z.array(condition).optional(),
    })
    .optional(),
});

const gatewayClassBody = z.looseObject({
  spec: z.looseObject({ controllerName: name }),
  status: z.looseObject({ conditions: z.array(condition).optional() }).optional(),
});

const routeBody = z.looseObject({
  spec: z.looseObject({
    parentRefs: z.array(parentRef).max(32).optional(),
    hostnames: z.array(text).optional(),
    rules: z
      .array(
        z.looseObject({
          matches: z.array(anything).optional(),
          filters: z.array(z.looseObject({ type: name })).optional(),
          backendRefs: z.array(backendRef).optional(),
        }),
      )
      .optional(),
  }),
  status: z.looseObject({ parents: z.array(z.looseObject({ parentRef, controllerName: text })).optional() }).optional(),
});

const valueMatch = z.enum(['Exact', 'RegularExpression']).optional();
const httpRouteMatch = z.looseObject({
  path: z
    .looseObject({ type: z.enum(['Exact', 'PathPrefix', 'RegularExpression']).optional(), value: text.optional() })
    .optional(),
  headers: z.array(z.looseObject({ type: valueMatch, name, value: text })).optional(),
  queryParams: z.array(z.looseObject({ type: valueMatch, name, value: text })).optional(),
  method: text.optional(),
});
const headerList = z.array(z.looseObject({ name, value: text })).optional();
const headerModifier = z.looseObject({ set: headerList, add: headerList, remove: z.array(text).optional() }).optional();
const httpRouteFilter = z.looseObject({
  type: name,
  requestHeaderModifier: headerModifier,
  responseHeaderModifier: headerModifier,
});
const httpRouteRule = z.looseObject({
  name: text.optional(),
  matches: z.array(httpRouteMatch).optional(),
  filters: z.array(httpRouteFilter).optional(),
  backendRefs: z.array(backendRef).optional(),
  timeouts: z.looseObject({ request: text.optional(), backendRequest: text.optional() }).optional(),
});
const httpRouteBody = z.looseObject({
  spec: z.looseObject({
    parentRefs: z.array(parentRef).max(32).optional(),
    hostnames: z.array(text).optional(),
    rules: z.array(httpRouteRule).optional(),
  }),
  status: routeBody.shape.status,
});

const referenceGrantBody = z.looseObject({
  spec: z.looseObject({
    from: z.array(z.looseObject({ group: text, kind: name, namespace: name })),
    to: z.array(z.looseObject({ group: text, kind: name, name: text.optional() })),
  }),
});

const backendTlsPolicyBody = z.looseObject({
  spec: z.looseObject({
    targetRefs: z.array(z.looseObject({ group: text, kind: name, name })),
    validation: z.looseObject({ hostname: name }),
  }),
});

export type GatewayBody = Plain<z.infer<typeof gatewayBody>>;
export type RouteBody = Plain<z.infer<typeof routeBody>>;
export type HttpRouteBody = Plain<z.infer<typeof httpRouteBody>>;
export type HttpRouteRule = Plain<z.infer<typeof httpRouteRule>>;
export type HttpRouteMatch = Plain<z.infer<typeof httpRouteMatch>>;
export type HttpRouteFilter = Plain<z.infer<typeof httpRouteFilter>>;
export type BackendRefSpec = Plain<z.infer<typeof backendRef>>;
export type ParentRef = Plain<z.infer<typeof parentRef>>;

const gatewayKind = (
  kind: string,
  plural: string,
  body: z.ZodObject,
  rest: Partial<KindDefinition> = {},
): KindDefinition => ({
  group: 'gateway.networking.k8s.io',
  kind,
  plural,
  versions: ['v1', 'v1beta1', 'v1alpha2', 'v1alpha3'],
  serving: 'not-served',
  body,
  ...rest,
});

export const GATEWAY_KINDS: readonly KindDefinition[] = [
  gatewayKind('GatewayClass', 'gatewayclasses', gatewayClassBody, { clusterScoped: true, serving: 'passive' }),
  gatewayKind('Gateway', 'gateways', gatewayBody, { serving: 'served' }),
  gatewayKind('HTTPRoute', 'httproutes', httpRouteBody, { serving: 'served' }),
  gatewayKind('GRPCRoute', 'grpcroutes', routeBody),
  gatewayKind('TCPRoute', 'tcproutes', routeBody),
  gatewayKind('TLSRoute', 'tlsroutes', routeBody),
  gatewayKind('ReferenceGrant', 'referencegrants', referenceGrantBody, { serving: 'passive' }),
  gatewayKind('BackendTLSPolicy', 'backendtlspolicies', backendTlsPolicyBody),
];

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
  gatewayKind('Gateway', 'gateways', gatewayBody),
  gatewayKind('HTTPRoute', 'httproutes', routeBody),
  gatewayKind('GRPCRoute', 'grpcroutes', routeBody),
  gatewayKind('TCPRoute', 'tcproutes', routeBody),
  gatewayKind('TLSRoute', 'tlsroutes', routeBody),
  gatewayKind('ReferenceGrant', 'referencegrants', referenceGrantBody, { serving: 'passive' }),
  gatewayKind('BackendTLSPolicy', 'backendtlspolicies', backendTlsPolicyBody),
];

/** gateway.networking.k8s.io, as far as it is read. Its CRDs are those of the Gateway API project. Source: v1.4. */
import { z } from 'zod';
import { condition, type KindDefinition, labelSelector, labels, name, type Plain, portNumber, text } from './kind.ts';
import { ROUTE_KINDS } from './route-kinds.ts';

const objectRef = z.looseObject({
  group: text.optional(),
  kind: text.optional(),
  namespace: text.optional(),
  name,
});

const listener = z.looseObject({
  name,
  port: portNumber,
  protocol: name,
  hostname: text.optional(),
  tls: z
    .looseObject({
      mode: z.enum(['Terminate', 'Passthrough']).optional(),
      certificateRefs: z.array(objectRef).max(64).optional(),
      frontendValidation: z.looseObject({ caCertificateRefs: z.array(objectRef).optional() }).optional(),
      options: labels.optional(),
    })
    .optional(),
  allowedRoutes: z
    .looseObject({
      namespaces: z
        .looseObject({
          from: z.enum(['Same', 'All', 'Selector', 'None']).optional(),
          selector: labelSelector.optional(),
        })
        .optional(),
      kinds: z.array(z.looseObject({ group: text.optional(), kind: name })).optional(),
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

const backendTlsPolicyBody = z.looseObject({
  spec: z.looseObject({
    targetRefs: z.array(z.looseObject({ group: text, kind: name, name, sectionName: text.optional() })),
    validation: z.looseObject({
      hostname: name,
      caCertificateRefs: z.array(objectRef).optional(),
      wellKnownCACertificates: text.optional(),
      subjectAltNames: z
        .array(z.looseObject({ type: text, hostname: text.optional(), uri: text.optional() }))
        .optional(),
    }),
  }),
});

export type GatewayBody = Plain<z.infer<typeof gatewayBody>>;
export type ListenerSpec = Plain<z.infer<typeof listener>>;
export type BackendTlsPolicyBody = Plain<z.infer<typeof backendTlsPolicyBody>>;

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
  ...ROUTE_KINDS,
  gatewayKind('BackendTLSPolicy', 'backendtlspolicies', backendTlsPolicyBody),
];

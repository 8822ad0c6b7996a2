/** VirtualService of networking.istio.io, every field. Source: Istio API v1 (virtual_service.proto). */
import { z } from 'zod';
import { countOf, duration, type KindDefinition, labels, name, type Plain, portNumber, text, texts } from './kind.ts';
import { istioStatus } from './status-shape.ts';

const stringMatch = z.strictObject({ exact: text.optional(), prefix: text.optional(), regex: text.optional() });
const matchMap = z.record(z.string(), stringMatch).optional();
const percent = z.strictObject({ value: z.number().min(0).max(100).optional() }).optional();
const destination = z.strictObject({
  host: name,
  subset: text.optional(),
  port: z.strictObject({ number: portNumber.optional() }).optional(),
});
const headerOperations = z.strictObject({ set: labels.optional(), add: labels.optional(), remove: texts }).optional();
const headers = z.strictObject({ request: headerOperations, response: headerOperations }).optional();

const httpMatch = z.strictObject({
  name: text.optional(),
  uri: stringMatch.optional(),
  scheme: stringMatch.optional(),
  method: stringMatch.optional(),
  authority: stringMatch.optional(),
  headers: matchMap,
  withoutHeaders: matchMap,
  queryParams: matchMap,
  ignoreUriCase: z.boolean().optional(),
  port: portNumber.optional(),
  sourceLabels: labels.optional(),
  sourceNamespace: text.optional(),
  gateways: texts,
  statPrefix: text.optional(),
});

const fault = z
  .strictObject({
    delay: z
      .strictObject({
        fixedDelay: duration.optional(),
        exponentialDelay: duration.optional(),
        percentage: percent,
        percent: z.int().min(0).max(100).optional(),
      })
      .optional(),
    abort: z
      .strictObject({
        httpStatus: z.int().min(200).max(599).optional(),
        grpcStatus: text.optional(),
        http2Error: text.optional(),
        percentage: percent,
        percent: z.int().min(0).max(100).optional(),
      })
      .optional(),
  })
  .optional();

const retries = z
  .strictObject({
    attempts: z.int().min(0).optional(),
    perTryTimeout: duration.optional(),
    retryOn: text.optional(),
    retryRemoteLocalities: z.boolean().nullish(),
    retryIgnorePreviousHosts: z.boolean().nullish(),
    backoff: duration.optional(),
  })
  .optional();

const corsPolicy = z
  .strictObject({
    allowOrigin: texts,
    allowOrigins: z.array(stringMatch).optional(),
    allowMethods: texts,
    allowHeaders: texts,
    exposeHeaders: texts,
    maxAge: duration.optional(),
    allowCredentials: z.boolean().nullish(),
    unmatchedPreflights: z.enum(['UNSPECIFIED', 'FORWARD', 'IGNORE']).optional(),
  })
  .optional();

const httpRoute = z.strictObject({
  name: text.optional(),
  match: z.array(httpMatch).optional(),
  route: z.array(z.strictObject({ destination, weight: z.int().min(0).optional(), headers })).optional(),
  redirect: z
    .strictObject({
      uri: text.optional(),
      authority: text.optional(),
      port: portNumber.optional(),
      derivePort: z.enum(['FROM_PROTOCOL_DEFAULT', 'FROM_REQUEST_PORT']).optional(),
      scheme: text.optional(),
      redirectCode: z.int().min(300).max(399).optional(),
    })
    .optional(),
  directResponse: z
    .strictObject({
      status: z.int().min(200).max(599),
      body: z.strictObject({ string: text.optional(), bytes: text.optional() }).optional(),
    })
    .optional(),
  delegate: z.strictObject({ name: text.optional(), namespace: text.optional() }).optional(),
  rewrite: z
    .strictObject({
      uri: text.optional(),
      authority: text.optional(),
      uriRegexRewrite: z.strictObject({ match: text.optional(), rewrite: text.optional() }).optional(),
    })
    .optional(),
  timeout: duration.optional(),
  retries,
  fault,
  mirror: destination.optional(),
  mirrors: z.array(z.strictObject({ destination, percentage: percent })).optional(),
  mirrorPercent: z.int().min(0).max(100).optional(),
  mirrorPercentage: percent,
  corsPolicy,
  headers,
});

const l4Routes = z.array(z.strictObject({ destination, weight: z.int().min(0).optional() })).optional();
const l4Match = {
  destinationSubnets: texts,
  port: portNumber.optional(),
  sourceLabels: labels.optional(),
  gateways: texts,
  sourceNamespace: text.optional(),
};

const virtualServiceSpec = z.strictObject({
  hosts: texts,
  gateways: texts,
  http: z.array(httpRoute).optional(),
  tls: z
    .array(
      z.strictObject({ match: z.array(z.strictObject({ sniHosts: texts, ...l4Match })).optional(), route: l4Routes }),
    )
    .optional(),
  tcp: z
    .array(
      z.strictObject({
        match: z.array(z.strictObject({ sourceSubnet: text.optional(), ...l4Match })).optional(),
        route: l4Routes,
      }),
    )
    .optional(),
  exportTo: texts,
});

export type VirtualServiceSpec = Plain<z.infer<typeof virtualServiceSpec>>;
export type VirtualHttpRoute = Plain<z.infer<typeof httpRoute>>;
export type VirtualHttpMatch = Plain<z.infer<typeof httpMatch>>;
export type VirtualTlsRoute = NonNullable<VirtualServiceSpec['tls']>[number];
export type VirtualTcpRoute = NonNullable<VirtualServiceSpec['tcp']>[number];
export type StringMatchSpec = Plain<z.infer<typeof stringMatch>>;
export type DestinationSpec = Plain<z.infer<typeof destination>>;
export type HeaderOperationsSpec = NonNullable<Plain<z.infer<typeof headers>>>;

export const VIRTUAL_SERVICE: KindDefinition = {
  group: 'networking.istio.io',
  kind: 'VirtualService',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  plural: 'virtualservices',
  shortNames: ['vs'],
  serving: 'served',
  body: z.strictObject({ spec: virtualServiceSpec, status: istioStatus }),
  rules: [
    {
      rule: 'has(self.http) || has(self.tls) || has(self.tcp)',
      message: 'one of http, tls and tcp is required',
      holds: (spec) => countOf(spec, 'http', 'tls', 'tcp') > 0,
    },
  ],
};

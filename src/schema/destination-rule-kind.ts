/** DestinationRule of networking.istio.io, every field. Source: Istio API v1 (destination_rule.proto). */
import { z } from 'zod';
import { duration, type KindDefinition, labels, name, type Plain, port16, portNumber, text, texts } from './kind.ts';
import { istioStatus } from './status-shape.ts';

const count = z.int().min(0).max(2_147_483_647).optional();
const share = z.int().min(0).max(100).optional();

const loadBalancer = z
  .strictObject({
    simple: z.enum(['UNSPECIFIED', 'LEAST_CONN', 'RANDOM', 'PASSTHROUGH', 'ROUND_ROBIN', 'LEAST_REQUEST']).optional(),
    consistentHash: z
      .strictObject({
        httpHeaderName: text.optional(),
        httpCookie: z
          .strictObject({
            name,
            path: text.optional(),
            ttl: duration.optional(),
            attributes: z.array(z.strictObject({ name, value: text.optional() })).optional(),
          })
          .optional(),
        useSourceIp: z.boolean().optional(),
        httpQueryParameterName: text.optional(),
        minimumRingSize: count,
        ringHash: z.strictObject({ minimumRingSize: count }).optional(),
        maglev: z.strictObject({ tableSize: count }).optional(),
      })
      .optional(),
    localityLbSetting: z
      .strictObject({
        distribute: z
          .array(z.strictObject({ from: text.optional(), to: z.record(z.string(), z.int().min(0)).optional() }))
          .optional(),
        failover: z.array(z.strictObject({ from: text.optional(), to: text.optional() })).optional(),
        failoverPriority: texts,
        enabled: z.boolean().nullish(),
      })
      .optional(),
    warmupDurationSecs: duration.optional(),
    warmup: z
      .strictObject({
        duration,
        minimumPercent: z.number().min(0).max(100).optional(),
        aggression: z.number().min(1).optional(),
      })
      .optional(),
  })
  .optional();

const connectionPool = z
  .strictObject({
    tcp: z
      .strictObject({
        maxConnections: count,
        connectTimeout: duration.optional(),
        tcpKeepalive: z
          .strictObject({ probes: count, time: duration.optional(), interval: duration.optional() })
          .optional(),
        maxConnectionDuration: duration.optional(),
        idleTimeout: duration.optional(),
      })
      .optional(),
    http: z
      .strictObject({
        http1MaxPendingRequests: count,
        http2MaxRequests: count,
        maxRequestsPerConnection: count,
        maxRetries: count,
        idleTimeout: duration.optional(),
        h2UpgradePolicy: z.enum(['DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE']).optional(),
        useClientProtocol: z.boolean().optional(),
        maxConcurrentStreams: count,
      })
      .optional(),
  })
  .optional();

const outlierDetection = z
  .strictObject({
    consecutiveErrors: count,
    splitExternalLocalOriginErrors: z.boolean().optional(),
    consecutiveLocalOriginFailures: count.nullable(),
    consecutiveGatewayErrors: count.nullable(),
    consecutive5xxErrors: count.nullable(),
    interval: duration.optional(),
    baseEjectionTime: duration.optional(),
    maxEjectionPercent: share,
    minHealthPercent: share,
  })
  .optional();

const tls = z
  .strictObject({
    mode: z.enum(['DISABLE', 'SIMPLE', 'MUTUAL', 'ISTIO_MUTUAL']).optional(),
    clientCertificate: text.optional(),
    privateKey: text.optional(),
    caCertificates: text.optional(),
    caCrl: text.optional(),
    credentialName: text.optional(),
    subjectAltNames: texts,
    sni: text.optional(),
    insecureSkipVerify: z.boolean().nullish(),
  })
  .optional();

const settings = { loadBalancer, connectionPool, outlierDetection, tls };
const trafficPolicy = z.strictObject({
  ...settings,
  portLevelSettings: z
    .array(z.strictObject({ port: z.strictObject({ number: portNumber.optional() }).optional(), ...settings }))
    .max(4_096)
    .optional(),
  tunnel: z
    .strictObject({ protocol: text.optional(), targetHost: text.optional(), targetPort: port16.optional() })
    .optional(),
  proxyProtocol: z.strictObject({ version: z.enum(['V1', 'V2']).optional() }).optional(),
  retryBudget: z.strictObject({ percent: z.number().min(0).max(100).nullish(), minRetryConcurrency: count }).optional(),
});

const destinationRuleSpec = z.strictObject({
  host: name,
  trafficPolicy: trafficPolicy.optional(),
  subsets: z
    .array(z.strictObject({ name, labels: labels.optional(), trafficPolicy: trafficPolicy.optional() }))
    .optional(),
  exportTo: texts,
  workloadSelector: z.strictObject({ matchLabels: labels.optional() }).optional(),
});

export type DestinationRuleSpec = Plain<z.infer<typeof destinationRuleSpec>>;
export type TrafficPolicySpec = Plain<z.infer<typeof trafficPolicy>>;
/** What may also be said for one port. */
export type TrafficSettingsSpec = Pick<TrafficPolicySpec, keyof typeof settings>;

export const DESTINATION_RULE: KindDefinition = {
  group: 'networking.istio.io',
  kind: 'DestinationRule',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  plural: 'destinationrules',
  shortNames: ['dr'],
  serving: 'served',
  body: z.strictObject({ spec: destinationRuleSpec, status: istioStatus }),
};

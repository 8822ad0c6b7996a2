/**
 * networking.istio.io and telemetry.istio.io. What takes effect is described in full; of kinds that are not served yet
 * the parts that name things are checked, the rest is kept as it is. Source: Istio API v1.
 */
import { z } from 'zod';
import { DESTINATION_RULE } from './destination-rule-kind.ts';
import {
  anything,
  condition,
  countOf,
  duration,
  type KindDefinition,
  labels,
  name,
  type Plain,
  port16,
  portNumber,
  text,
  texts,
} from './kind.ts';
import { istioStatus } from './status-shape.ts';
import { VIRTUAL_SERVICE } from './virtual-service-kind.ts';

const workloadSelector = z.strictObject({ labels: labels.optional() });
const status = istioStatus;

const workloadEntrySpec = z.strictObject({
  address: text.optional(),
  ports: z.record(z.string(), port16).optional(),
  labels: labels.optional(),
  network: text.optional(),
  locality: text.optional(),
  weight: z.int().min(0).max(4_294_967_295).optional(),
  serviceAccount: text.optional(),
});

const serviceEntrySpec = z.strictObject({
  hosts: z.array(name).min(1).max(256),
  addresses: texts,
  ports: z
    .array(z.strictObject({ number: portNumber, protocol: text.optional(), name, targetPort: port16.optional() }))
    .max(256)
    .optional(),
  location: z.enum(['MESH_EXTERNAL', 'MESH_INTERNAL']).optional(),
  resolution: z.enum(['NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS']).optional(),
  endpoints: z.array(workloadEntrySpec).max(4_096).optional(),
  workloadSelector: workloadSelector.optional(),
  exportTo: texts,
  subjectAltNames: texts,
});
const serviceEntryStatus = z
  .looseObject({
    conditions: z.array(condition).optional(),
    addresses: z.array(z.looseObject({ value: text.optional(), host: text.optional() })).optional(),
  })
  .optional();

const sidecarSpec = z.strictObject({
  workloadSelector: workloadSelector.optional(),
  ingress: z.array(anything).optional(),
  egress: z.array(anything).optional(),
  inboundConnectionPool: anything.optional(),
  outboundTrafficPolicy: anything.optional(),
});

const providers = z.array(z.strictObject({ name })).optional();
const telemetrySpec = z.strictObject({
  selector: z.strictObject({ matchLabels: labels.optional() }).optional(),
  targetRef: anything.optional(),
  targetRefs: z.array(anything).optional(),
  metrics: z
    .array(
      z.looseObject({ providers, overrides: z.array(anything).optional(), reportingInterval: duration.optional() }),
    )
    .optional(),
  tracing: z
    .array(z.looseObject({ providers, randomSamplingPercentage: z.number().min(0).max(100).nullish() }))
    .optional(),
  accessLogging: z.array(z.looseObject({ providers })).optional(),
});

export type ServiceEntrySpec = Plain<z.infer<typeof serviceEntrySpec>>;
export type ServiceEntryStatus = Plain<z.infer<typeof serviceEntryStatus>>;
export type WorkloadEntrySpec = Plain<z.infer<typeof workloadEntrySpec>>;

const ISTIO = 'networking.istio.io';
const VERSIONS = ['v1', 'v1beta1', 'v1alpha3'] as const;

export const NETWORKING_KINDS: readonly KindDefinition[] = [
  {
    group: ISTIO,
    kind: 'ServiceEntry',
    versions: VERSIONS,
    plural: 'serviceentries',
    shortNames: ['se'],
    serving: 'served',
    body: z.strictObject({ spec: serviceEntrySpec, status: serviceEntryStatus }),
    rules: [
      {
        rule: '(has(self.workloadSelector) ? 1 : 0) + (has(self.endpoints) ? 1 : 0) <= 1',
        message: 'only one of WorkloadSelector or Endpoints can be set',
        holds: (spec) => countOf(spec, 'workloadSelector', 'endpoints') <= 1,
      },
    ],
  },
  {
    group: ISTIO,
    kind: 'WorkloadEntry',
    versions: VERSIONS,
    plural: 'workloadentries',
    shortNames: ['we'],
    serving: 'served',
    body: z.strictObject({ spec: workloadEntrySpec, status }),
    rules: [
      {
        rule: 'has(self.address) || has(self.network)',
        message: 'Address is required',
        holds: (spec) => countOf(spec, 'address', 'network') > 0,
      },
    ],
  },
  VIRTUAL_SERVICE,
  DESTINATION_RULE,
  {
    group: ISTIO,
    kind: 'Sidecar',
    versions: VERSIONS,
    plural: 'sidecars',
    serving: 'not-served',
    body: z.strictObject({ spec: sidecarSpec, status }),
  },
  {
    group: 'telemetry.istio.io',
    kind: 'Telemetry',
    versions: ['v1', 'v1alpha1'],
    plural: 'telemetries',
    shortNames: ['telemetry'],
    serving: 'served',
    body: z.strictObject({ spec: telemetrySpec.optional(), status }),
  },
];

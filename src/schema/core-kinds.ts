/** Kinds of Kubernetes itself, as far as the mesh reads them. Source: Kubernetes API v1.33. */
import { z } from 'zod';
import {
  anything,
  condition,
  flag,
  intOrString,
  type KindDefinition,
  labelSelector,
  labels,
  name,
  type Plain,
  port16,
  portNumber,
  text,
  texts,
} from './kind.ts';

const protocol = z.enum(['TCP', 'UDP', 'SCTP']);

const container = z.looseObject({
  name,
  restartPolicy: text.optional(),
  ports: z
    .array(z.looseObject({ name: text.optional(), containerPort: portNumber, protocol: protocol.optional() }))
    .optional(),
});

const podSpec = z.looseObject({
  serviceAccountName: text.optional(),
  nodeName: text.optional(),
  hostNetwork: flag,
  containers: z.array(container).optional(),
  initContainers: z.array(container).optional(),
});

const podBody = z.looseObject({
  spec: podSpec.optional(),
  status: z
    .looseObject({
      phase: text.optional(),
      podIP: text.optional(),
      podIPs: z.array(z.looseObject({ ip: text })).optional(),
      conditions: z.array(condition).optional(),
    })
    .optional(),
});

const serviceBody = z.looseObject({
  spec: z
    .looseObject({
      type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']).optional(),
      clusterIP: text.optional(),
      clusterIPs: texts,
      ipFamilies: z.array(z.enum(['IPv4', 'IPv6'])).optional(),
      selector: labels.nullish(),
      publishNotReadyAddresses: flag,
      internalTrafficPolicy: text.optional(),
      trafficDistribution: text.optional(),
      ports: z
        .array(
          z.looseObject({
            name: text.optional(),
            port: portNumber,
            targetPort: intOrString.optional(),
            protocol: protocol.optional(),
            appProtocol: text.optional(),
          }),
        )
        .nullish(),
    })
    .optional(),
  status: z.looseObject({ conditions: z.array(condition).optional() }).optional(),
});

const endpointSliceBody = z.looseObject({
  addressType: z.enum(['IPv4', 'IPv6', 'FQDN']),
  endpoints: z
    .array(
      z.looseObject({
        addresses: z.array(text),
        conditions: z.looseObject({ ready: z.boolean().nullish() }).optional(),
        targetRef: z
          .looseObject({
            kind: text.optional(),
            namespace: text.optional(),
            name: text.optional(),
            uid: text.optional(),
          })
          .optional(),
      }),
    )
    .nullish(),
  ports: z
    .array(z.looseObject({ name: text.nullish(), port: port16.nullish(), protocol: protocol.nullish() }))
    .nullish(),
});

const deploymentBody = z.looseObject({
  spec: z.looseObject({
    replicas: z.int().min(0).max(10_000).optional(),
    selector: labelSelector.optional(),
    template: z.looseObject({ metadata: anything.optional(), spec: podSpec }),
  }),
  status: anything.optional(),
});

const open = z.looseObject({});
const stringMap = z.record(z.string(), z.string()).nullish();

export type PodBody = Plain<z.infer<typeof podBody>>;
export type ServiceBody = Plain<z.infer<typeof serviceBody>>;
export type EndpointSliceBody = Plain<z.infer<typeof endpointSliceBody>>;

const core = (kind: string, plural: string, body: z.ZodObject, rest: Partial<KindDefinition> = {}): KindDefinition => ({
  group: '',
  kind,
  plural,
  versions: ['v1'],
  serving: 'passive',
  body,
  ...rest,
});

export const CORE_KINDS: readonly KindDefinition[] = [
  core('Namespace', 'namespaces', open, { clusterScoped: true }),
  core('Node', 'nodes', open, { clusterScoped: true }),
  core('Pod', 'pods', podBody),
  core('Service', 'services', serviceBody),
  core('ServiceAccount', 'serviceaccounts', open),
  core('Secret', 'secrets', z.looseObject({ type: text.optional(), data: stringMap, stringData: stringMap })),
  core('ConfigMap', 'configmaps', z.looseObject({ data: stringMap, binaryData: stringMap })),
  core('EndpointSlice', 'endpointslices', endpointSliceBody, { group: 'discovery.k8s.io' }),
  core('Deployment', 'deployments', deploymentBody, { group: 'apps' }),
  core('Lease', 'leases', open, { group: 'coordination.k8s.io' }),
];

/**
 * What can be chosen at installation, and what is installed without a choice. Names and meanings are those of Istio's
 * charts (`istiod`, `cni`, `ztunnel`) as they stand below `values` of an IstioOperator; what is ours alone says so.
 * The JSON Schema and the defaults of the Helm chart come from here.
 */
import { z } from 'zod';
import { MeshError } from '../core/errors.ts';

const text = (fallback: string, description: string) => z.string().default(fallback).describe(description);
const flag = (fallback: boolean, description: string) => z.boolean().default(fallback).describe(description);
const map = (description: string) => z.record(z.string(), z.string()).default({}).describe(description);
const open = z.record(z.string(), z.unknown());
const list = (description: string) => z.array(open).default([]).describe(description);

const resources = (cpu: string, memory: string) =>
  open.default({ requests: { cpu, memory } }).describe('requests and limits of the container');

const environment = z
  .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
  .default({})
  .describe('more environment variables');

/** What every program of the mesh lets one choose. */
const pod = {
  hub: text('', 'instead of global.hub'),
  tag: text('', 'instead of global.tag'),
  env: environment,
  podAnnotations: map('more annotations of the pods'),
  podLabels: map('more labels of the pods'),
  nodeSelector: map('nodes to run on'),
  affinity: open.default({}).describe('affinity of the pods'),
};

const global = z.looseObject({
  hub: text('docker.io/culvert', 'registry and folder of the images'),
  tag: text('', 'version of the images; empty: the version of this program'),
  imagePullPolicy: z.enum(['', 'Always', 'IfNotPresent', 'Never']).default('IfNotPresent').describe('as in a pod'),
  imagePullSecrets: z.array(z.string()).default([]).describe('names of Secrets'),
  logAsJson: flag(false, 'log lines in JSON'),
  meshID: text('', 'name of the mesh'),
  network: text('', 'name of the network that this cluster is on'),
  multiCluster: z
    .looseObject({ clusterName: text('Kubernetes', 'name of this cluster') })
    .prefault({})
    .describe('this cluster among others'),
  proxy: z
    .looseObject({ clusterDomain: text('cluster.local', 'DNS domain of the cluster') })
    .prefault({})
    .describe('settings of proxies'),
  defaultPodDisruptionBudget: z
    .looseObject({ enabled: flag(true, 'keep one control plane pod while nodes are drained') })
    .prefault({})
    .describe('disruption budgets'),
});

const pilot = z.strictObject({
  ...pod,
  image: text('pilot', 'name of the image'),
  replicaCount: z.int().min(0).default(1).describe('control plane pods while autoscaling is off'),
  autoscaleEnabled: flag(true, 'a HorizontalPodAutoscaler by CPU'),
  autoscaleMin: z.int().min(1).default(1).describe('fewest pods'),
  autoscaleMax: z.int().min(1).default(5).describe('most pods'),
  cpu: z
    .strictObject({ targetAverageUtilization: z.int().min(1).max(100).default(80).describe('percent of requests') })
    .prefault({})
    .describe('what autoscaling aims at'),
  resources: resources('500m', '2Gi'),
  tolerations: list('more tolerations'),
  topologySpreadConstraints: list('spreading of the pods'),
  taint: z
    .strictObject({ enabled: flag(false, 'take the taint cni.istio.io/not-ready from nodes whose agent is ready') })
    .prefault({})
    .describe('nodes that are not ready yet'),
  logLevel: text('info', 'level, or scope=level, separated by commas (ours)'),
});

const cni = z.strictObject({
  ...pod,
  image: text('install-cni', 'name of the image'),
  excludeNamespaces: z.array(z.string()).default(['kube-system']).describe('namespaces whose pods never join'),
  cniBinDir: text('/opt/cni/bin', "the runtime's folder of executables, on the node"),
  cniConfDir: text('/etc/cni/net.d', "the runtime's folder of configuration, on the node"),
  cniConfFileName: text('', 'configuration to join; empty: the first'),
  cniNetnsDir: text('/var/run/netns', 'folder of network namespaces, on the node'),
  chained: flag(true, 'join the plugins of another configuration'),
  istioOwnedCNIConfig: flag(false, 'write a configuration of our own instead of changing the first'),
  istioOwnedCNIConfigFileName: text('02-istio-cni.conflist', 'its name'),
  ambient: z
    .strictObject({
      enabled: flag(true, 'must be true: there is nothing else'),
      dnsCapture: flag(true, "pods' DNS queries go through the tunnel"),
      ipv6: flag(true, 'capture IPv6'),
      shareHostNetworkNamespace: flag(false, "run in the node's network namespace"),
    })
    .prefault({})
    .describe('capture'),
  redirectBackend: z.enum(['auto', 'ebpf', 'nftables', 'iptables']).default('auto').describe('how to capture (ours)'),
  resources: resources('100m', '100Mi'),
  rollingMaxUnavailable: z.union([z.int(), z.string()]).default(1).describe('agents replaced at a time'),
  resourceQuotas: z
    .strictObject({
      enabled: flag(false, 'a ResourceQuota that admits critical pods (GKE)'),
      pods: z.int().default(5_000).describe('its limit'),
    })
    .prefault({})
    .describe('quota'),
  logging: z
    .strictObject({ level: text('info', 'level of the agent') })
    .prefault({})
    .describe('logs'),
  tolerations: list('more tolerations'),
});

const ztunnel = z.strictObject({
  ...pod,
  image: text('ztunnel', 'name of the image'),
  resources: resources('200m', '512Mi'),
  terminationGracePeriodSeconds: z.int().min(1).default(30).describe('how long open connections may go on at an end'),
  logLevel: text('info', 'level, or scope=level, separated by commas'),
  tolerations: list('more tolerations'),
  engine: z.enum(['typescript', 'native']).default('typescript').describe('what moves the bytes (ours)'),
});

const ingressGateway = z.strictObject({
  name: z.string().min(1).max(63).describe('name of the Gateway'),
  serviceType: z.enum(['LoadBalancer', 'ClusterIP', 'NodePort']).default('LoadBalancer').describe('of its Service'),
});

export const valuesSchema = z.strictObject({
  global: global.prefault({}).describe('what all parts share'),
  revision: text('', 'objects labelled with another istio.io/rev are left alone'),
  meshConfig: z
    .looseObject({
      trustDomain: text('cluster.local', 'of the identities in this mesh'),
      accessLogFile: text('/dev/stdout', 'where waypoints log requests'),
    })
    .prefault({})
    .describe("Istio's mesh configuration, in the ConfigMap istio"),
  pilot: pilot.prefault({}).describe('control plane'),
  cni: cni.prefault({}).describe('node agent and CNI plugin'),
  ztunnel: ztunnel.prefault({}).describe('node tunnel'),
  ingressGateways: z.array(ingressGateway).default([]).describe('Gateways of class istio to make (ours)'),
  crds: z
    .strictObject({
      enabled: flag(true, "install the definitions of Istio's kinds; false where Istio's own are there"),
    })
    .prefault({})
    .describe('CustomResourceDefinitions (ours)'),
});

export type InstallValues = z.infer<typeof valuesSchema>;
export type IngressGatewayValues = z.infer<typeof ingressGateway>;

/** What is installed when nothing is chosen. */
export const DEFAULT_VALUES: InstallValues = valuesSchema.parse({});

/** Complete values. Throws ERR_CONFIG with everything that is wrong. */
export function parseValues(given: unknown, version: string): InstallValues {
  const result = valuesSchema.safeParse(mergeValues(DEFAULT_VALUES, given));
  if (!result.success) {
    const problems = result.error.issues.map(({ path, message }) => `${path.join('.') || 'values'}: ${message}`);
    throw new MeshError('ERR_CONFIG', `the installation values cannot be used: ${problems.join('; ')}`);
  }
  const { global } = result.data;
  return { ...result.data, global: { ...global, tag: global.tag || version } };
}

/** Maps are merged, everything else is replaced: as Helm does with several files. Null removes. */
export function mergeValues(base: unknown, over: unknown): unknown {
  if (!isMap(base) || !isMap(over)) return over === undefined ? base : over;
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    if (value === null) delete merged[key];
    else merged[key] = mergeValues(merged[key], value);
  }
  return merged;
}

export function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

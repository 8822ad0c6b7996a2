/** All checks of a cluster, before an installation or after one. Reads only, but for the pods that ask the nodes. */
import type { ApiObject, Cluster } from '../cluster/cluster.ts';
import { kindPath } from '../cluster/object-path.ts';
import type { WaitOptions } from '../cluster/wait.ts';
import { AGENT, CONTROL_PLANE, TUNNEL } from '../manifests/manifest.ts';
import type { InstallValues } from '../values.ts';
import {
  checkClocks,
  checkGatewayApi,
  checkIstioDefinitions,
  checkOtherMeshes,
  checkVersion,
} from './cluster-checks.ts';
import { type Finding, fault, ok } from './finding.ts';
import { checkCapture, checkImages, checkMonitors, checkPrograms, isWanted } from './mesh-checks.ts';
import { checkNetworkProvider } from './network-checks.ts';
import { checkNetworkPolicies } from './network-policies.ts';
import { checkNodes } from './node-checks.ts';
import { probeNodes } from './node-probe.ts';

export interface CheckOptions extends WaitOptions {
  readonly namespace: string;
  readonly values: InstallValues;
  /** Run a pod on every node. */
  readonly askNodes: boolean;
}

/** What an installation creates that not every account may. */
const RIGHTS = [
  ['apiextensions.k8s.io', 'customresourcedefinitions'],
  ['rbac.authorization.k8s.io', 'clusterroles'],
  ['apps', 'daemonsets'],
  ['', 'namespaces'],
] as const;

const kinds = {
  nodes: kindPath('v1', 'Node'),
  pods: kindPath('v1', 'Pod'),
  namespaces: kindPath('v1', 'Namespace'),
  daemonSets: kindPath('apps/v1', 'DaemonSet'),
  deployments: kindPath('apps/v1', 'Deployment'),
  definitions: kindPath('apiextensions.k8s.io/v1', 'CustomResourceDefinition'),
  policies: kindPath('networking.k8s.io/v1', 'NetworkPolicy'),
  leases: kindPath('coordination.k8s.io/v1', 'Lease'),
  monitors: kindPath('monitoring.coreos.com/v1', 'ServiceMonitor'),
};

/** Whether the mesh can be installed. Rejects with ERR_SYSTEM when the API server does not answer. */
export async function checkBefore(cluster: Cluster, options: CheckOptions): Promise<readonly Finding[]> {
  const { values, askNodes } = options;
  const nodes = await cluster.list(kinds.nodes);
  const workloads = [...(await cluster.list(kinds.daemonSets)), ...(await cluster.list(kinds.deployments))];
  const definitions = await cluster.list(kinds.definitions);
  const namespaces = await cluster.list(kinds.namespaces);
  return [
    checkVersion(await cluster.version()),
    ...(await checkRights(cluster)),
    ...checkNodes(nodes),
    ...checkClocks(await cluster.list(kinds.leases, {}, 'kube-node-lease')),
    ...checkNetworkProvider({
      daemonSets: workloads,
      ciliumConfig: await cluster.read('v1', 'ConfigMap', 'cilium-config', 'kube-system'),
    }),
    ...checkNetworkPolicies(await cluster.list(kinds.policies), await meshPods(cluster, namespaces, values)),
    checkGatewayApi(definitions),
    ...checkIstioDefinitions(definitions),
    ...checkOtherMeshes(workloads),
    ...(askNodes ? await probeNodes(cluster, nodes.filter(isLinux), options) : []),
  ];
}

/** Whether an installed mesh is well. */
export async function checkInstalled(cluster: Cluster, options: CheckOptions): Promise<readonly Finding[]> {
  const { namespace, values } = options;
  const programs = new Map<string, ApiObject | undefined>();
  for (const [kind, name] of [
    ['Deployment', CONTROL_PLANE] as const,
    ['DaemonSet', AGENT] as const,
    ['DaemonSet', TUNNEL] as const,
  ]) {
    const object = await cluster.read('apps/v1', kind, name, namespace);
    programs.set(name, object && { ...object, kind });
  }
  const namespaces = await cluster.list(kinds.namespaces);
  const pods = await cluster.list(kinds.pods);
  return [
    ...checkPrograms(programs),
    ...checkImages(programs),
    ...checkCapture(namespaces, pods.filter(isOutside(values))),
    ...checkNetworkPolicies(await cluster.list(kinds.policies), await meshPods(cluster, namespaces, values)),
    ...checkClocks(await cluster.list(kinds.leases, {}, 'kube-node-lease')),
    checkGatewayApi(await cluster.list(kinds.definitions)),
    ...checkMonitors(await cluster.list(kinds.monitors), namespace),
  ];
}

async function checkRights(cluster: Cluster): Promise<readonly Finding[]> {
  const refused: string[] = [];
  for (const [group, resource] of RIGHTS) {
    if (!(await cluster.mayI('create', group, resource))) refused.push(resource);
  }
  if (refused.length === 0) return [ok('this account may install')];
  return [fault(`this account may not create ${refused.join(', ')}`, 'use one that is bound to cluster-admin')];
}

/** Pods of namespaces that are labelled already. */
async function meshPods(
  cluster: Cluster,
  namespaces: readonly ApiObject[],
  values: InstallValues,
): Promise<readonly ApiObject[]> {
  const labelled = namespaces.filter(({ metadata }) => metadata.labels?.['istio.io/dataplane-mode'] === 'ambient');
  const ambient = new Set(labelled.map(({ metadata }) => metadata.name));
  return (await cluster.list(kinds.pods)).filter((pod) => isWanted(pod, ambient)).filter(isOutside(values));
}

function isOutside({ cni }: InstallValues) {
  const excluded = new Set(cni.excludeNamespaces);
  return ({ metadata }: ApiObject) => !excluded.has(metadata.namespace ?? '');
}

function isLinux({ status }: ApiObject): boolean {
  const { nodeInfo } = (status ?? {}) as { nodeInfo?: { operatingSystem?: string } };
  return (nodeInfo?.operatingSystem ?? 'linux') === 'linux';
}

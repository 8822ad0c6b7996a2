/**
 * Runs a cluster until it is told to stop: network, DNS and services first, then the mesh, then the pods; the end goes
 * the other way round and leaves nothing but the state folder, which the caller removes.
 */
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Netns } from 'culvert-netns';
import { ensureBpffs } from '../bpf/index.ts';
import type { Clock } from '../core/clock.ts';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { createCgroup, ensureCgroup2 } from './cgroup.ts';
import { ClusterApi } from './cluster-api.ts';
import { startClusterDns } from './cluster-dns.ts';
import { type ClusterPlan, type NodePlan, netnsPath, podNetns } from './cluster-plan.ts';
import { CniChain } from './cni-chain.ts';
import type { ComponentState } from './component.ts';
import { GatewayLoop } from './gateway-loop.ts';
import { GATEWAY_NAME_LABEL } from './gateway-plan.ts';
import { NAMESPACE, NODE, type Pod } from './kinds.ts';
import { Kubelet } from './kubelet.ts';
import { storeObjects } from './manifest-store.ts';
import { type MeshOptions, startMesh } from './mesh.ts';
import { meshSecrets, podTokensFolder, waypointEnv } from './mesh-environment.ts';
import { createNetwork } from './network.ts';
import { createNodeFiles, nodeDirs } from './node-files.ts';
import { PodTokens } from './pod-tokens.ts';
import { ServiceProxy } from './service-proxy.ts';
import { WorkloadLoop } from './workload-loop.ts';

export interface SupervisorOptions {
  readonly plan: ClusterPlan;
  readonly clock: Clock;
  readonly log: Logger;
  /** Absent: a cluster without a mesh. */
  readonly mesh?: Pick<MeshOptions, 'redirect' | 'program'>;
  /** PATH and the like for containers. */
  readonly containerEnv: Readonly<Record<string, string>>;
  /** A component was started, also again. */
  onComponents(components: readonly ComponentState[]): Promise<void>;
  /** Everything answers; pods may be applied. */
  onReady(): Promise<void>;
}

/** Runs until `signal` aborts. Rejects when the cluster cannot be made; what was made is ended before. */
export async function superviseCluster(options: SupervisorOptions, signal: AbortSignal): Promise<void> {
  const { plan, clock, log } = options;
  const cgroup2 = await ensureCgroup2();
  await createFolders(plan);
  await createNetwork(plan);
  await using stack = new AsyncDisposableStack();
  const api = stack.use(await ClusterApi.open(plan.resourceDir, 'culvert-local', log));
  await createNodes(plan, api, cgroup2);
  const fabric = stack.use(Netns.open(netnsPath(plan.fabricNetns)));
  const view = { services: () => api.services.list(), pods: () => api.pods.list() };
  stack.use(startClusterDns(fabric, [plan.gateway4, plan.gateway6], view, log));
  stack.use(new ServiceProxy(plan, api, log));
  if (options.mesh) {
    // Here and not in the agents: what they mount is seen by themselves only, and their pins would end with them.
    await ensureBpffs().catch((error: unknown) => log.warn('eBPF capture is off', { error: errorMessage(error) }));
    const onComponents = options.onComponents.bind(options);
    stack.use(await startMesh({ ...options.mesh, plan, clock, log, cgroup2, onComponents }, api, signal));
  }
  const tokens = new PodTokens(meshSecrets(plan).tokensFile, podTokensFolder(plan));
  for (const node of plan.nodes) {
    const nodeNetns = stack.use(Netns.open(netnsPath(node.netns)));
    stack.use(startKubelet(options, node, { api, nodeNetns, cgroup2, tokens }));
  }
  if (options.mesh) {
    const env = Object.entries(waypointEnv(plan)).map(([name, value]) => ({ name, value }));
    const container = { command: [...options.mesh.program, 'waypoint'], env };
    stack.use(new GatewayLoop({ api, log, container }));
  }
  stack.use(new WorkloadLoop({ api, clock, log, nodeNames: plan.nodes.map((node) => node.name) }));
  await options.onReady();
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

async function createFolders(plan: ClusterPlan): Promise<void> {
  for (const dir of [plan.resourceDir, plan.logDir, plan.secretDir, tempDir(plan)]) {
    await mkdir(dir, { recursive: true, mode: 0o700 });
  }
  for (const node of plan.nodes) await createNodeFiles(node);
}

async function createNodes(plan: ClusterPlan, api: ClusterApi, cgroup2: string): Promise<void> {
  for (const node of plan.nodes) {
    await createCgroup(join(cgroup2, node.cgroup, 'kubepods'));
    await api.apply(NODE, {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: node.name, labels: { 'kubernetes.io/hostname': node.name }, uid: `${plan.name}-${node.name}` },
      ...{ status: { addresses: [node.ipv4, node.ipv6].map((address) => ({ type: 'InternalIP', address })) } },
    });
  }
  const names = ['default', 'istio-system'].filter((name) => !api.find(NAMESPACE, { namespace: '', name }));
  const namespaces = names.map((name) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }));
  await storeObjects(plan.resourceDir, namespaces);
}

function startKubelet(
  { plan, clock, log, containerEnv }: SupervisorOptions,
  node: NodePlan,
  { api, nodeNetns, cgroup2, tokens }: { api: ClusterApi; nodeNetns: Netns; cgroup2: string; tokens: PodTokens },
): Kubelet {
  const kubeletLog = log.child('kubelet', { node: node.name });
  const worker = {
    chain: new CniChain(nodeDirs(node), kubeletLog),
    nodeNetns,
    nodeIp: node.ipv4,
    nodeCgroup: join(cgroup2, node.cgroup),
    nameservers: [plan.dnsIp4],
    logDir: join(plan.logDir, 'pods'),
    tempDir: tempDir(plan),
    baseEnv: containerEnv,
    netnsOf: (podUid: string) => podNetns(plan, podUid),
    tokens: async (pod: Pod) => (isGatewayReplica(pod) ? await tokens.issue(pod) : undefined),
    revokeTokens: (podUid: string) => tokens.revoke(podUid),
  };
  return new Kubelet({ nodeName: node.name, api, clock, log: kubeletLog, worker });
}

function isGatewayReplica({ metadata }: Pod): boolean {
  return metadata.labels?.[GATEWAY_NAME_LABEL] !== undefined;
}

function tempDir(plan: ClusterPlan): string {
  return join(dirname(plan.resourceDir), 'tmp');
}

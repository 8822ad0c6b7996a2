/** Pods of a local cluster as a command line names and enters them. */
import { join } from 'node:path';
import { MeshError } from '../core/errors.ts';
import { silentLogger } from '../core/logger.ts';
import {
  ClusterApi,
  type ClusterPlan,
  ensureCgroup2,
  type Pod,
  podEntryCgroup,
  podNetns,
  resolvConfText,
  type Service,
} from '../local/index.ts';

export interface ClusterView {
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  readonly problems: readonly { readonly file: string; readonly line: number; readonly reason: string }[];
}

/** Everything a person may ask about, read once from the resource directory. */
export async function clusterPods(plan: ClusterPlan): Promise<ClusterView> {
  await using api = await ClusterApi.open(plan.resourceDir, 'culvert-cli', silentLogger);
  return { pods: api.pods.list(), services: api.services.list(), problems: api.problems() };
}

/** A pod by name, start of its name, or `deploy/<name>`. Rejects with ERR_NOT_FOUND and the names there are. */
export async function findPod(plan: ClusterPlan, text: string, namespace: string | undefined): Promise<Pod> {
  const { pods } = await clusterPods(plan);
  const candidates = pods.filter((pod) => namespace === undefined || pod.metadata.namespace === namespace);
  const found = matchPods(candidates, text);
  if (found) return found;
  const names = candidates.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).join(', ');
  throw new MeshError('ERR_NOT_FOUND', `no pod '${text}'; there are: ${names || 'none'}`);
}

/** The pod that `text` means: an exact name wins, then a running pod of the deployment, then any with that start. */
export function matchPods(pods: readonly Pod[], text: string): Pod | undefined {
  const name = text.replace(/^(pod|deploy|deployment)\//, '');
  const running = pods.filter((pod) => pod.metadata.deletionTimestamp === undefined && pod.status?.podIP !== undefined);
  return (
    running.find((pod) => pod.metadata.name === name) ??
    running.find((pod) => pod.metadata.generateName?.startsWith(`${name}-`) && !text.startsWith('pod/')) ??
    running.find((pod) => pod.metadata.name.startsWith(name))
  );
}

/** How to run a command inside a pod: its namespace, its cgroup (so that capture applies) and its names. */
export async function podEntry(plan: ClusterPlan, pod: Pod, command: readonly string[]) {
  const { uid = '', name, namespace = 'default' } = pod.metadata;
  const node = plan.nodes.find((candidate) => candidate.name === pod.spec?.nodeName);
  if (!node) throw new MeshError('ERR_NOT_FOUND', `pod ${name} is on no node of this cluster`);
  return {
    netns: podNetns(plan, uid),
    cgroup: await podEntryCgroup(join(await ensureCgroup2(), node.cgroup), uid),
    resolvConf: join(plan.stateDir, 'tmp', `exec-${uid}.resolv.conf`),
    resolvConfText: resolvConfText(namespace, [plan.dnsIp4]),
    hostname: name,
    command,
  };
}

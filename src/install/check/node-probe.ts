/**
 * Asks every node what only a program on it can see: one short-lived pod per node, with the mounts and privileges that the
 * agent will have, in a namespace of its own that is gone afterwards.
 */
import { MeshError } from '../../core/errors.ts';
import type { ApiObject, Cluster } from '../cluster/cluster.ts';
import { podProblems } from '../cluster/diagnosis.ts';
import { kindPath } from '../cluster/object-path.ts';
import type { WaitOptions } from '../cluster/wait.ts';
import { type PlainObject, type RenderOptions, renderObjects } from '../manifests/index.ts';
import { AGENT } from '../manifests/manifest.ts';
import { type Finding, info, warning } from './finding.ts';
import { checkNodeReport, type NodeReport } from './node-checks.ts';

/** Nodes looked at in one check; of a larger cluster these stand for the others. */
const MAX_NODES = 50;
const POLL_MS = 500;
const PODS = kindPath('v1', 'Pod');
const EVENTS = kindPath('v1', 'Event');
/** What the node keeps must not be made by a check. */
const NEEDED_MOUNTS = new Set(['host-procfs', 'host-cgroup', 'host-bpf', 'cni-net-dir', 'tmp']);

interface Container {
  readonly volumeMounts: readonly { readonly name: string }[];
  readonly [field: string]: unknown;
}

interface PodSpec {
  readonly containers: readonly [Container];
  readonly volumes: readonly { readonly name: string; readonly hostPath?: { readonly path: string } }[];
  readonly [field: string]: unknown;
}

/** Rejects with ERR_SYSTEM when the pods cannot be made. What they say is in the findings. */
export async function probeNodes(
  cluster: Cluster,
  nodes: readonly ApiObject[],
  options: WaitOptions & Pick<RenderOptions, 'values'>,
): Promise<readonly Finding[]> {
  const { progress } = options;
  const namespace = `culvert-check-${Math.random().toString(36).slice(2, 8)}`;
  const labels = { 'pod-security.kubernetes.io/enforce': 'privileged', 'app.kubernetes.io/part-of': 'culvert-check' };
  const space: PlainObject = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } };
  const asked = nodes.slice(0, MAX_NODES);
  await cluster.apply(space, { dryRun: false });
  try {
    progress.step(`asking ${asked.length} nodes`);
    for (const node of asked)
      await createPod(cluster, checkPod(node.metadata.name, namespace, options.values), options);
    const findings = await collect(cluster, asked, namespace, options);
    const rest = nodes.length - asked.length;
    return rest > 0 ? [...findings, info(`${rest} more nodes were not asked`)] : findings;
  } finally {
    await cluster.remove(space, { dryRun: false });
  }
}

/** The account that pods run as comes a moment after the namespace. */
async function createPod(cluster: Cluster, pod: PlainObject, { clock, signal, timeoutMs }: WaitOptions): Promise<void> {
  const deadline = clock.monotonicMs() + timeoutMs;
  for (;;) {
    try {
      await cluster.apply(pod, { dryRun: false });
      return;
    } catch (error) {
      const isEarly = error instanceof MeshError && error.message.includes('serviceaccount "default" not found');
      if (!isEarly || clock.monotonicMs() >= deadline) throw error;
      await clock.sleep(POLL_MS, signal);
    }
  }
}

async function collect(
  cluster: Cluster,
  nodes: readonly ApiObject[],
  namespace: string,
  { clock, timeoutMs, signal }: WaitOptions,
): Promise<readonly Finding[]> {
  const deadline = clock.monotonicMs() + timeoutMs;
  for (;;) {
    const pods = await cluster.list(PODS, {}, namespace);
    const isOver = (pod: ApiObject) =>
      ['Succeeded', 'Failed'].includes((pod.status as { phase?: string })?.phase ?? '');
    if ((pods.length >= nodes.length && pods.every(isOver)) || clock.monotonicMs() >= deadline) {
      const found = await Promise.all(pods.map((pod) => readPod(cluster, pod, isOver(pod))));
      return found.flat();
    }
    await clock.sleep(POLL_MS, signal);
  }
}

async function readPod(cluster: Cluster, pod: ApiObject, isOver: boolean): Promise<readonly Finding[]> {
  const node = (pod.spec as { nodeName?: string }).nodeName ?? pod.metadata.name;
  const log = isOver ? await cluster.logs(pod, 'install-cni', false) : '';
  const report = parseReport(log);
  if (report !== undefined) return checkNodeReport(node, report);
  const events = await cluster.list(
    EVENTS,
    { fieldSelector: `involvedObject.name=${pod.metadata.name}` },
    pod.metadata.namespace,
  );
  const [problem] = podProblems(pod, events);
  return [warning(`node ${node} could not be asked: ${problem?.text ?? (log || 'its pod did not end in time')}`)];
}

/** The last line; undefined when it is something else. */
function parseReport(log: string): NodeReport | undefined {
  try {
    const value: unknown = JSON.parse(log.split('\n').at(-1) ?? '');
    const isReport = typeof value === 'object' && value !== null && 'backends' in value && 'cniFiles' in value;
    return isReport ? (value as NodeReport) : undefined; // written by `culvert node-check` of the same version
  } catch {
    return undefined;
  }
}

/** The agent's pod, asked to look instead of to work. */
function checkPod(node: string, namespace: string, values: RenderOptions['values']): PlainObject {
  const objects = renderObjects({ values, namespace, served: new Set() });
  const agent = objects.find(({ kind, metadata }) => kind === 'DaemonSet' && metadata.name === AGENT) as unknown as {
    spec: { template: { spec: PodSpec } };
  };
  const { serviceAccountName: _account, containers, volumes, ...rest } = agent.spec.template.spec;
  const [container] = containers;
  const { readinessProbe: _probe, resources: _resources, ports: _ports, volumeMounts, ...program } = container;
  const spec = {
    ...rest,
    ...{
      nodeName: node,
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 0,
    },
    containers: [
      { ...program, args: ['node-check'], volumeMounts: volumeMounts.filter(({ name }) => NEEDED_MOUNTS.has(name)) },
    ],
    volumes: volumes
      .filter(({ name }) => NEEDED_MOUNTS.has(name))
      .map((volume) => (volume.hostPath ? { ...volume, hostPath: { path: volume.hostPath.path } } : volume)),
  };
  const labels = { 'istio.io/dataplane-mode': 'none', 'app.kubernetes.io/part-of': 'culvert-check' };
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name: `check-${node}`, namespace, labels }, spec } as PlainObject;
}

/** Workloads that are rolled, killed and waited for. */
import { eventually } from '../../support/eventually.ts';
import { type Kubernetes, manifest, SLOW_MS } from './kubernetes.ts';

export interface Controller {
  readonly kind: 'DaemonSet' | 'Deployment' | 'StatefulSet';
  readonly namespace: string;
  readonly name: string;
}

interface WorkloadStatus {
  readonly metadata: { readonly generation?: number };
  readonly spec: { readonly replicas?: number };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly desiredNumberScheduled?: number;
    readonly updatedNumberScheduled?: number;
    readonly numberAvailable?: number;
    readonly numberReady?: number;
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly readyReplicas?: number;
  };
}

/** As `kubectl rollout restart`, until every new pod is ready and every old one is gone. */
export async function restart(cluster: Kubernetes, target: Controller): Promise<void> {
  const object = manifest('apps/v1', target.kind, target);
  const annotations = { 'culvert.dev/e2e-restarted-at': new Date().toISOString() };
  await cluster.patch(object, { spec: { template: { metadata: { annotations } } } });
  await rolledOut(cluster, target);
}

export async function rolledOut(cluster: Kubernetes, target: Controller): Promise<void> {
  const object = manifest('apps/v1', target.kind, target);
  await eventually(
    async () => {
      const found = (await cluster.get(object)) as unknown as WorkloadStatus | undefined;
      return found !== undefined && isRolledOut(found);
    },
    `${target.kind} ${target.name} is rolled out`,
    2 * SLOW_MS,
  );
}

/** Ends pods at once, without a chance to say goodbye. */
export async function kill(cluster: Kubernetes, namespace: string, labelSelector: string): Promise<void> {
  for (const { metadata } of await cluster.pods(namespace, labelSelector)) {
    await cluster.delete(manifest('v1', 'Pod', { namespace, name: metadata.name }), 0);
  }
}

function isRolledOut({ metadata, spec, status = {} }: WorkloadStatus): boolean {
  if (status.observedGeneration !== metadata.generation) return false;
  const { desiredNumberScheduled: nodes } = status;
  if (nodes !== undefined) {
    return status.updatedNumberScheduled === nodes && status.numberAvailable === nodes && status.numberReady === nodes;
  }
  const wanted = spec.replicas ?? 1;
  return status.updatedReplicas === wanted && status.readyReplicas === wanted && status.replicas === wanted;
}

/** The name of what a pod was made by: Deployment, DaemonSet, CronJob. Source: Istio control plane (heuristics). */
import type { Pod } from '../resources.ts';

export function workloadName({ metadata }: Pod): string {
  const { labels = {}, name } = metadata;
  const given = labels['service.istio.io/workload-name'];
  if (given !== undefined && given !== '') return given;
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true);
  if (!owner || !metadata.generateName) return name;
  if (owner.kind === 'ReplicaSet') {
    const hash = labels['pod-template-hash'] ?? labels['rollouts-pod-template-hash'];
    return hash !== undefined && owner.name.endsWith(`-${hash}`) ? owner.name.slice(0, -hash.length - 1) : owner.name;
  }
  if (owner.kind === 'ReplicationController') return labels.deploymentconfig ?? owner.name;
  if (owner.kind === 'Job') return /^(.+)-\d{8,10}$/.exec(owner.name)?.[1] ?? owner.name;
  return owner.name;
}

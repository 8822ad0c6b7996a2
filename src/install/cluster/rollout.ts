/** How far a Deployment or DaemonSet is, by its status. Pure. */
import type { ApiObject } from './cluster.ts';

export interface Rollout {
  readonly ready: boolean;
  readonly wanted: number;
  readonly current: number;
}

interface Counts {
  readonly observedGeneration?: number;
  readonly replicas?: number;
  readonly updatedReplicas?: number;
  readonly availableReplicas?: number;
  readonly desiredNumberScheduled?: number;
  readonly updatedNumberScheduled?: number;
  readonly numberAvailable?: number;
}

/** Ready: every pod is of the present version and available, and no other is left. */
export function rolloutOf({ kind, metadata, spec, status }: ApiObject): Rollout {
  const counts = (status ?? {}) as Counts;
  const isObserved = (counts.observedGeneration ?? 0) >= (metadata.generation ?? 0);
  if (kind === 'DaemonSet') {
    const wanted = counts.desiredNumberScheduled ?? 0;
    const current = Math.min(counts.updatedNumberScheduled ?? 0, counts.numberAvailable ?? 0);
    return { ready: isObserved && current >= wanted, wanted, current };
  }
  const wanted = (spec as { replicas?: number } | undefined)?.replicas ?? 1;
  const current = Math.min(counts.updatedReplicas ?? 0, counts.availableReplicas ?? 0);
  return { ready: isObserved && current >= wanted && (counts.replicas ?? 0) <= wanted, wanted, current };
}

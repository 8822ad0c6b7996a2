/**
 * The condition of a pod that tells what of it the mesh does not protect. Pure.
 * A pod without exclusions has no such condition: it is there to be noticed.
 */
import type { MergePatch } from '../../kube/index.ts';
import type { Exclusions } from '../redirect/index.ts';
import type { Pod } from './pod.ts';
import { exclusionEffect } from './pod-exclusions.ts';

/** False while something is excluded. Nobody else writes it. */
export const CAPTURE_CONDITION = 'culvert.dev/FullyCaptured';

/** The patch of the pod's status that makes it true; undefined when it is. `now` is RFC 3339. */
export function conditionPatch(
  { status }: Pod,
  exclusions: Exclusions | undefined,
  now: string,
): MergePatch | undefined {
  const present = status?.conditions?.find(({ type }) => type === CAPTURE_CONDITION);
  if (exclusions === undefined) return present === undefined ? undefined : { conditions: [] };
  const message = exclusionEffect(exclusions);
  if (present?.status === 'False' && present.message === message) return undefined;
  const lastTransitionTime = present?.status === 'False' ? present.lastTransitionTime : now;
  const condition = { type: CAPTURE_CONDITION, status: 'False', reason: 'Excluded', message, lastTransitionTime };
  return { conditions: [condition] };
}

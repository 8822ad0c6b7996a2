/** Whether a caller is a replica of a Gateway: its token is bound to a pod that carries the Gateway's name. */
import type { Informer } from '../../kube/index.ts';
import type { Caller } from '../../model/caller.ts';
import type { Pod } from '../resources.ts';
import { GATEWAY_NAME } from '../translate/waypoint.ts';

/** Judges by the present list of pods; a pod that has just been made may be unknown for a moment, so callers retry. */
export function mayServeGateway(pods: Pick<Informer<Pod>, 'get'>, caller: Caller, gateway: string): boolean {
  if (caller.podName === undefined) return false;
  const pod = pods.get({ namespace: caller.namespace, name: caller.podName });
  if (!pod || (caller.podUid !== undefined && pod.metadata.uid !== caller.podUid)) return false;
  if ((pod.spec?.serviceAccountName || 'default') !== caller.serviceAccount) return false;
  return gateway === `${caller.namespace}/${pod.metadata.labels?.[GATEWAY_NAME] ?? ''}`;
}

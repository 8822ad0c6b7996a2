/**
 * Whether a node tunnel may get a certificate for a workload: only for accounts of pods on its own node.
 * Source: Istio CA server (node authorization).
 */
import type { Informer } from '../../kube/index.ts';
import type { Caller } from '../../model/caller.ts';
import type { Identity } from '../../model/identity.ts';
import type { NodeAuthorizer } from '../../pki/index.ts';
import type { Pod } from '../resources.ts';

/** Judges by the present list of pods; a pod that has just been made may be unknown for a moment, so callers retry. */
export function podNodeAuthorizer(pods: Pick<Informer<Pod>, 'get' | 'list'>, trustDomain: string): NodeAuthorizer {
  return { mayImpersonate: async (caller, requested) => mayImpersonate(caller, requested, { pods, trustDomain }) };
}

function mayImpersonate(
  caller: Caller,
  requested: Identity,
  { pods, trustDomain }: { pods: Pick<Informer<Pod>, 'get' | 'list'>; trustDomain: string },
): boolean {
  if (caller.podName === undefined || caller.podUid === undefined) return false;
  // Identities of other trust domains are not ours to give.
  if (requested.trustDomain !== trustDomain) return false;
  const own = pods.get({ namespace: caller.namespace, name: caller.podName });
  const node = own?.spec?.nodeName;
  if (!own || own.metadata.uid !== caller.podUid || accountOf(own) !== caller.serviceAccount || !node) return false;
  return pods
    .list(requested.namespace)
    .some(
      (pod) =>
        pod.spec?.nodeName === node && accountOf(pod) === requested.serviceAccount && pod.status?.phase !== 'Failed',
    );
}

function accountOf({ spec }: Pod): string {
  return spec?.serviceAccountName || 'default';
}

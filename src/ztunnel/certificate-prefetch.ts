/**
 * Sees to it that identities of this node have certificates before the first connection, and are forgotten with their
 * last workload.
 */
import { type Identity, identityUri } from '../model/identity.ts';
import type { Workload } from '../model/workload.ts';
import type { MeshState } from './state/mesh-state.ts';

export interface IdentityCache {
  prefetch(identity: Identity): void;
  forget(identity: Identity): void;
}

/** Works until the returned function is called. `node` undefined: every workload is local. */
export function prefetchCertificates(state: MeshState, node: string | undefined, cache: IdentityCache): () => void {
  const users = new Map<string, number>();
  const toLocal = (workload: Workload | undefined): Identity | undefined => {
    const isLocal = workload && (node === undefined || workload.node === node);
    const needsOne = workload && (workload.tunnelProtocol === 'HBONE' || workload.nativeTunnel);
    return isLocal && needsOne ? toIdentity(workload) : undefined;
  };
  return state.subscribe({
    workloadChanged(previous, current) {
      const before = toLocal(previous);
      const after = toLocal(current);
      if (after) {
        const key = identityUri(after);
        users.set(key, (users.get(key) ?? 0) + 1);
        cache.prefetch(after);
      }
      if (!before) return;
      const key = identityUri(before);
      const left = (users.get(key) ?? 1) - 1;
      if (left > 0) {
        users.set(key, left);
        return;
      }
      users.delete(key);
      cache.forget(before);
    },
  });
}

function toIdentity({ trustDomain, namespace, serviceAccount }: Workload): Identity {
  return { trustDomain, namespace, serviceAccount };
}

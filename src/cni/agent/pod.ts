/** Pods and namespaces as far as the agent reads them. */
import type { GroupKind, KubeObject } from '../../kube/port.ts';
import type { NamespacedName } from '../../model/address.ts';
import { canonicalIp } from '../../model/ip.ts';

export const POD: GroupKind = { group: '', kind: 'Pod' };
export const NAMESPACE: GroupKind = { group: '', kind: 'Namespace' };

export interface Pod extends KubeObject {
  readonly spec?: {
    readonly nodeName?: string;
    readonly hostNetwork?: boolean | null | undefined;
    readonly serviceAccountName?: string;
  };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly conditions?: readonly PodCondition[];
  };
}

export interface PodCondition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
}

export type Namespace = KubeObject;

/** Written by the agent; the control plane derives from `enabled` that a workload can be reached by HBONE. */
export const REDIRECTION_ANNOTATION = 'ambient.istio.io/redirection';
/** Written by the agent: the back-end in force. */
export const BACKEND_ANNOTATION = 'culvert.dev/redirect-backend';

export function podKey({ metadata }: Pod): NamespacedName {
  return { namespace: metadata.namespace ?? 'default', name: metadata.name };
}

export function keyText({ namespace, name }: NamespacedName): string {
  return `${namespace}/${name}`;
}

/** Canonical addresses of the status; empty while the pod has none. */
export function podIps({ status }: Pod): readonly string[] {
  return canonicalIps([...(status?.podIP ? [status.podIP] : []), ...(status?.podIPs ?? []).map(({ ip }) => ip)]);
}

/** Each address once, canonical; what is none is left out. */
export function canonicalIps(texts: readonly string[]): readonly string[] {
  return [...new Set(texts.map(canonicalIp).filter((ip) => ip !== undefined))];
}

export function isTerminal({ status }: Pod): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}

export function serviceAccountOf({ spec }: Pod): string {
  return spec?.serviceAccountName || 'default';
}

/** Keys of objects across kinds, and the scope of a kind. API versions of one kind are one kind here. */
import type { NamespacedName } from '../../model/address.ts';
import type { GroupKind, KubeObject } from '../port.ts';

/** `<kind>.<group>`, the core group as `core`: also the name of a folder. */
export type KindKey = string;

export interface ObjectKey extends NamespacedName {
  readonly kind: KindKey;
}

const CLUSTER_SCOPED: ReadonlySet<KindKey> = new Set([
  'Namespace.core',
  'Node.core',
  'PersistentVolume.core',
  'GatewayClass.gateway.networking.k8s.io',
  'CustomResourceDefinition.apiextensions.k8s.io',
  'ClusterRole.rbac.authorization.k8s.io',
  'ClusterRoleBinding.rbac.authorization.k8s.io',
  'PriorityClass.scheduling.k8s.io',
  'StorageClass.storage.k8s.io',
  'ValidatingWebhookConfiguration.admissionregistration.k8s.io',
  'MutatingWebhookConfiguration.admissionregistration.k8s.io',
]);

export function kindKey({ group, kind }: GroupKind): KindKey {
  return `${kind}.${group === '' ? 'core' : group}`;
}

export function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/');
  return slash < 0 ? '' : apiVersion.slice(0, slash);
}

/** The key of an object; a namespaced one without a namespace is in `default`, a cluster-scoped one in none. */
export function objectKeyOf(object: KubeObject): ObjectKey {
  const kind = kindKey({ group: groupOf(object.apiVersion), kind: object.kind });
  const namespace = CLUSTER_SCOPED.has(kind) ? '' : (object.metadata.namespace ?? 'default');
  return { kind, namespace, name: object.metadata.name };
}

/** One text per object, for maps. */
export function keyText({ kind, namespace, name }: ObjectKey): string {
  return `${kind}/${namespace}/${name}`;
}

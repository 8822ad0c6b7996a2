/** Whole objects at their source, read past every cache: for what several replicas decide together. */
import type { GroupKind, KubeObject } from '../kube/index.ts';
import type { NamespacedName } from '../model/address.ts';

export interface ObjectAccess {
  readObject(kind: GroupKind, key: NamespacedName): Promise<KubeObject | undefined>;
  /** False: it is there already. */
  createObject(object: KubeObject): Promise<boolean>;
  /** False: somebody changed it since it was read. */
  replaceObject(object: KubeObject): Promise<boolean>;
}

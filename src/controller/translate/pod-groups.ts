/**
 * The pods of the cluster in groups, so that one changed pod costs a look at its group and not at all of them.
 * A pod stays in its group for life: the group follows from its namespace and name. Pure but for its memory.
 */
import type { NamespacedName } from '../../model/address.ts';
import { namespaceOf, type Pod, type PodGroup } from '../resources.ts';

/** A pass looks at every group and at every pod of those that changed: neither should be many. */
const GROUPS_PER_NAMESPACE = 16;

export class PodGroups {
  readonly #members = new Map<string, Map<string, Pod>>();
  readonly #groups = new Map<string, PodGroup>();

  /** All groups, none of them empty. A group is the same value as before while nothing in it changed. */
  list(): readonly PodGroup[] {
    return [...this.#groups.values()];
  }

  /** Takes in what a pod is now; undefined: it is gone. */
  update({ namespace, name }: NamespacedName, pod: Pod | undefined): void {
    const key = groupOf(namespace, name);
    const members = this.#members.get(key) ?? new Map<string, Pod>();
    if (members.get(name) === pod) return;
    if (pod) members.set(name, pod);
    else members.delete(name);
    if (members.size === 0) {
      this.#members.delete(key);
      this.#groups.delete(key);
      return;
    }
    this.#members.set(key, members);
    this.#groups.set(key, { key, namespace, pods: [...members.values()] });
  }
}

/** The groups of a list. */
export function groupPods(pods: readonly Pod[]): readonly PodGroup[] {
  const groups = new PodGroups();
  for (const pod of pods) groups.update({ namespace: namespaceOf(pod), name: pod.metadata.name }, pod);
  return groups.list();
}

function groupOf(namespace: string, name: string): string {
  let hash = 0;
  for (let i = 0; i < name.length; i += 1) hash = (Math.imul(hash, 31) + name.charCodeAt(i)) | 0;
  return `${namespace}/${(hash >>> 0) % GROUPS_PER_NAMESPACE}`;
}

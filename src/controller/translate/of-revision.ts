/** What of a snapshot belongs to a revision of the control plane. Source: Istio control plane (label `istio.io/rev`). */
import type { KubeObject } from '../../kube/index.ts';
import { byAge, compareText, nameOf, type Resources } from '../resources.ts';

const REVISION_LABEL = 'istio.io/rev';

/** Objects without the label belong to every revision. */
export function ofRevision(resources: Resources, revision: string): Resources {
  const isOurs = ({ metadata }: KubeObject) => (metadata.labels?.[REVISION_LABEL] ?? revision) === revision;
  /** The same list when all are ours: nothing that depends on it is looked at again. */
  const ours = <T extends KubeObject>(objects: readonly T[]) =>
    objects.every(isOurs) ? objects : objects.filter(isOurs);
  return {
    ...resources,
    authorizationPolicies: sorted(ours(resources.authorizationPolicies), byName),
    requestAuthentications: sorted(ours(resources.requestAuthentications), byAge),
    telemetries: sorted(ours(resources.telemetries), byAge),
    peerAuthentications: ours(resources.peerAuthentications),
    refusedPolicies: resources.refusedPolicies.filter(({ object }) => isOurs(object)), // compared by its elements
    serviceEntries: ours(resources.serviceEntries),
    workloadEntries: ours(resources.workloadEntries),
  };
}

const byName = (a: KubeObject, b: KubeObject): number => compareText(nameOf(a), nameOf(b));
const SORTED = new WeakMap<readonly KubeObject[], readonly KubeObject[]>();

/** The list in order; for the same list the same one again. A list is sorted in one way only. */
function sorted<T extends KubeObject>(objects: readonly T[], compare: (a: T, b: T) => number): readonly T[] {
  const known = SORTED.get(objects);
  if (known) return known as readonly T[]; // made from this list
  const fresh = [...objects].sort(compare);
  SORTED.set(objects, fresh);
  return fresh;
}

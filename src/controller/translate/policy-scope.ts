/** The policies that may concern workloads of one namespace, and which of them a workload lists. */
import type { PeerScope } from './peer-authentication.ts';
import { isSubset, type Labels } from './selector.ts';

export interface SelectorPolicy {
  readonly key: string;
  readonly selector: Labels;
}

export interface PolicyScope {
  /** Of the namespace and of the root namespace. */
  readonly selected: readonly SelectorPolicy[];
  readonly peer: PeerScope;
}

/** Sorted keys of the policies whose selector matches; all of them when `labels` is undefined. */
export function selectorPolicyKeys({ selected }: PolicyScope, labels: Labels | undefined): readonly string[] {
  const matching = selected.filter(({ selector }) => labels === undefined || isSubset(selector, labels));
  return matching.map(({ key }) => key).sort();
}

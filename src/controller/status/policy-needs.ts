/**
 * Which nodes have to enforce a policy: those with a workload of the mesh in its scope. What a group of workloads needs
 * is remembered for as long as the group stays the same.
 */
import { type Authorization, authorizationKey } from '../../model/authorization.ts';
import type { Workload } from '../../model/workload.ts';
import type { MeshIR } from '../ir.ts';

/** Nodes by what makes them need a policy: a policy that a workload lists, a namespace, being in the mesh at all. */
type Needs = ReadonlyMap<string, ReadonlySet<string>>;

const EVERYWHERE = 'mesh';
const NOBODY: ReadonlySet<string> = new Set();

export class PolicyNeeds {
  readonly #ofGroup = new WeakMap<readonly Workload[], Needs>();
  #groups: MeshIR['workloadGroups'] = new Map();
  #needs: Needs = new Map();

  update({ workloadGroups }: MeshIR): void {
    if (workloadGroups === this.#groups) return;
    this.#groups = workloadGroups;
    const needs = new Map<string, Set<string>>();
    for (const workloads of workloadGroups.values()) {
      for (const [key, nodes] of this.#needsOf(workloads)) {
        const all = needs.get(key) ?? new Set();
        for (const node of nodes) all.add(node);
        needs.set(key, all);
      }
    }
    this.#needs = needs;
  }

  nodesFor(policy: Authorization): ReadonlySet<string> {
    return this.#needs.get(needKey(policy)) ?? NOBODY;
  }

  #needsOf(workloads: readonly Workload[]): Needs {
    const known = this.#ofGroup.get(workloads);
    if (known) return known;
    const needs = new Map<string, Set<string>>();
    for (const { node, namespace, tunnelProtocol, authorizationPolicies } of workloads) {
      if (node === '' || tunnelProtocol !== 'HBONE') continue;
      const keys = [EVERYWHERE, `namespace ${namespace}`, ...authorizationPolicies.map((key) => `policy ${key}`)];
      for (const key of keys) needs.set(key, (needs.get(key) ?? new Set()).add(node));
    }
    this.#ofGroup.set(workloads, needs);
    return needs;
  }
}

function needKey(policy: Authorization): string {
  switch (policy.scope) {
    case 'GLOBAL':
      return EVERYWHERE;
    case 'NAMESPACE':
      return `namespace ${policy.namespace}`;
    case 'WORKLOAD_SELECTOR':
      return `policy ${authorizationKey(policy)}`;
  }
}

/** What a translation gives: the mesh as the data plane will see it, and what to tell the authors of the objects. */
import type { GroupKind } from '../kube/index.ts';
import type { NamespacedName } from '../model/address.ts';
import type { Authorization } from '../model/authorization.ts';
import type { Service } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';
import type { BoundObject, GatewayResources } from './gateway-ir.ts';

export interface MeshIR {
  /** By a key that a workload keeps for life; a group in which nothing changed is the same value as before. */
  readonly workloadGroups: ReadonlyMap<string, readonly Workload[]>;
  readonly services: readonly Service[];
  readonly policies: readonly Authorization[];
  /** What each gateway is told. */
  readonly gateways: readonly GatewayResources[];
}

export interface ConditionValue {
  readonly type: string;
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
}

/** The conditions of one object that are ours; none means that those written before go away. */
export interface StatusPatch {
  readonly kind: GroupKind;
  readonly key: NamespacedName;
  readonly conditions: readonly ConditionValue[];
  /** Fields of the status beside its conditions. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

export interface Translation {
  readonly ir: MeshIR;
  readonly statuses: readonly StatusPatch[];
  /** Objects that ask for a waypoint. */
  readonly bound: readonly BoundObject[];
}

/** All workloads, in no particular order. */
export function workloadsOf({ workloadGroups }: MeshIR): readonly Workload[] {
  return [...workloadGroups.values()].flat();
}

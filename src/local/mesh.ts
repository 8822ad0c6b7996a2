/**
 * The mesh's programs in a local cluster: the controller beside the fabric's gateway, on every node an agent and a
 * tunnel. Each gets its environment as its DaemonSet or Deployment would give it.
 */
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { ClusterApi } from './cluster-api.ts';
import type { ClusterPlan } from './cluster-plan.ts';
import type { ComponentState } from './component.ts';

export interface MeshOptions {
  readonly plan: ClusterPlan;
  readonly clock: Clock;
  readonly log: Logger;
  readonly cgroup2: string;
  /** How the supervisor runs the mesh's programs: the program and its first arguments. */
  readonly program: readonly string[];
  /** Capture back-end asked of the agents. */
  readonly redirect: string;
  readonly onComponents: (components: readonly ComponentState[]) => Promise<void>;
}

export type RunningMesh = AsyncDisposable;

export async function startMesh(_options: MeshOptions, _api: ClusterApi, _signal: AbortSignal): Promise<RunningMesh> {
  return { async [Symbol.asyncDispose]() {} };
}

/**
 * What is known about a cluster outside its supervisor: one JSON file in its state folder, always replaced as a whole.
 * The supervisor is named by pid and start time, so that a pid given to another process is not taken for it.
 */
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoName, MeshError } from '../core/errors.ts';
import { type ClusterPlan, planCluster } from './cluster-plan.ts';
import type { ComponentState } from './component.ts';

export interface ClusterState {
  readonly name: string;
  readonly nodeCount: number;
  readonly phase: 'starting' | 'ready' | 'stopping' | 'failed';
  /** Why `phase` is `failed`. */
  readonly error?: string;
  readonly mesh: boolean;
  readonly supervisor: { readonly pid: number; readonly startTime: string };
  readonly components: readonly ComponentState[];
}

const STATE_FILE = 'cluster.json';

export async function writeState(stateDir: string, state: ClusterState): Promise<void> {
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const temporary = join(stateDir, `.${STATE_FILE}.${process.pid}`);
  await writeFile(temporary, `${JSON.stringify(state, undefined, 2)}\n`);
  await rename(temporary, join(stateDir, STATE_FILE));
}

/** The state of a cluster; undefined when there is none. */
export async function findState(stateDir: string): Promise<ClusterState | undefined> {
  try {
    return JSON.parse(await readFile(join(stateDir, STATE_FILE), 'utf8')) as ClusterState; // written by writeState
  } catch (error) {
    if (errnoName(error) === 'ENOENT') return undefined;
    throw new MeshError('ERR_SYSTEM', `cannot read the state of the cluster in ${stateDir}`, { cause: error });
  }
}

/** The plan of a cluster that is up. Rejects with ERR_NOT_FOUND when there is none. */
export async function getPlan(name: string, root: string): Promise<ClusterPlan> {
  const state = await findState(join(root, name));
  if (!state) throw new MeshError('ERR_NOT_FOUND', `there is no cluster '${name}'; make one with: culvert local up`);
  return planCluster(name, join(root, name), state.nodeCount);
}

/** Names of the clusters below a state root. */
export async function listClusters(root: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(root, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
      .sort();
  } catch (error) {
    if (errnoName(error) === 'ENOENT') return [];
    throw error;
  }
}

/** When a process started, in clock ticks since boot; undefined when there is no such process, or only its remains. */
export async function processStartTime(pid: number): Promise<string | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** Whether the supervisor of this state still runs. */
export async function isSupervised(state: ClusterState): Promise<boolean> {
  const startTime = await processStartTime(state.supervisor.pid);
  return startTime !== undefined && startTime === state.supervisor.startTime;
}

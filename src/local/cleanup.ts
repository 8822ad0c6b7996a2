/**
 * Removes everything of one cluster, whatever state it was left in: processes by cgroup, namespaces and pins by the name
 * prefix, then the state folder. Needs nothing but the plan, may run twice, and touches no other cluster.
 */
import { access, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../core/clock.ts';
import { findCgroup2, releaseCgroup2, removeCgroup } from './cgroup.ts';
import type { ClusterPlan } from './cluster-plan.ts';
import { findState, isSupervised } from './cluster-state.ts';
import { listNamespaces, removeNamespaces } from './network.ts';

/** Pins of the capture programs of a cluster. The bpf file system takes no dots. */
export function pinRoot(plan: ClusterPlan): string {
  return join('/sys/fs/bpf', plan.prefix.replaceAll('.', '_'));
}

const SUPERVISOR_GRACE_MS = 20_000;
const POLL_MS = 50;

/** Ends the supervisor in order when it runs; kills it after 20 s. */
export async function stopSupervisor(plan: ClusterPlan, clock: Clock): Promise<void> {
  const state = await findState(plan.stateDir);
  if (!state || !(await isSupervised(state))) return;
  const { pid } = state.supervisor;
  process.kill(pid, 'SIGTERM');
  const deadline = clock.monotonicMs() + SUPERVISOR_GRACE_MS;
  while (await isSupervised(state)) {
    if (clock.monotonicMs() > deadline) process.kill(pid, 'SIGKILL');
    await clock.sleep(POLL_MS);
  }
}

/** Removes what is left. The supervisor must not run any more, or be the caller. */
export async function removeCluster(plan: ClusterPlan): Promise<void> {
  await removeRuntime(plan);
  await rm(plan.stateDir, { recursive: true, force: true });
}

/** Everything but the state folder. */
export async function removeRuntime(plan: ClusterPlan): Promise<void> {
  const cgroup2 = findCgroup2(await readFile('/proc/mounts', 'utf8'));
  if (cgroup2 !== undefined) {
    await removeCgroup(join(cgroup2, plan.prefix));
    await releaseCgroup2(cgroup2);
  }
  await rm(pinRoot(plan), { recursive: true, force: true });
  await removeNamespaces(plan.prefix);
}

/** What can be seen of a cluster on the machine: namespaces, cgroup, pins, state folder. Empty after a clean end. */
export async function remainsOf(plan: ClusterPlan): Promise<readonly string[]> {
  const cgroup2 = findCgroup2(await readFile('/proc/mounts', 'utf8'));
  const paths = [pinRoot(plan), plan.stateDir, ...(cgroup2 === undefined ? [] : [join(cgroup2, plan.prefix)])];
  const left = await Promise.all(paths.map(async (path) => ((await isThere(path)) ? [path] : [])));
  return [...(await listNamespaces(plan.prefix)), ...left.flat()];
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

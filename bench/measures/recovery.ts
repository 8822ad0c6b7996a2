/**
 * Time from the start of a program after its kill -9 to its first effect: a call through the mesh for the tunnel, an
 * enrolment for the agent, an edit that is in force for the controller.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { findState, holdFile, processStartTime } from '../../src/local/index.ts';
import type { BenchCluster } from '../cluster.ts';
import { PolicyWatcher } from '../policy-watcher.ts';

const DENY = join(import.meta.dirname, '..', 'manifests', 'deny.yaml');
const REDIRECTION = 'ambient.istio.io/redirection';
/** USER_HZ, in which /proc tells start times. */
const TICK_MS = 10;
const POLL_MS = 10;

export interface RecoverySamples {
  readonly tunnel: readonly number[];
  readonly agent: readonly number[];
  readonly controller: readonly number[];
}

/** Milliseconds, `rounds` of each. */
export async function measureRecovery(cluster: BenchCluster, httpIp: string, rounds: number): Promise<RecoverySamples> {
  const samples = { tunnel: [] as number[], agent: [] as number[], controller: [] as number[] };
  await cluster.apply('latecomer.yaml');
  await cluster.until('the latecomer', () => latecomer(cluster)?.status?.phase === 'Running');
  await using probe = await PolicyWatcher.start(cluster, httpIp);
  await probe.next('allowed');
  for (let round = 0; round < rounds; round++) {
    samples.tunnel.push(await recoverTunnel(cluster, probe));
    samples.controller.push(await recoverController(cluster, probe));
    samples.agent.push(await recoverAgent(cluster));
  }
  return samples;
}

async function recoverTunnel(cluster: BenchCluster, probe: PolicyWatcher): Promise<number> {
  const killed = await killAndHold(cluster, 'ztunnel/node1');
  await probe.next('denied');
  const startedMs = await killed.release();
  return (await probe.next('allowed')) - startedMs;
}

async function recoverController(cluster: BenchCluster, probe: PolicyWatcher): Promise<number> {
  const target = join(cluster.plan.resourceDir, 'bench-deny.yaml');
  const killed = await killAndHold(cluster, 'controller');
  await writeFile(`${target}.tmp`, await readFile(DENY, 'utf8'));
  await rename(`${target}.tmp`, target);
  const startedMs = await killed.release();
  const tookMs = (await probe.next('denied')) - startedMs;
  await rm(target);
  await probe.next('allowed');
  return tookMs;
}

async function recoverAgent(cluster: BenchCluster): Promise<number> {
  const killed = await killAndHold(cluster, 'cni/node1');
  await cluster.local('label', 'late', 'istio.io/dataplane-mode=ambient');
  const startedMs = await killed.release();
  await cluster.until('the enrolment of the latecomer', () => redirection(cluster) === 'enabled');
  const tookMs = Date.now() - startedMs;
  await cluster.local('label', 'late', 'istio.io/dataplane-mode-');
  await cluster.until('the latecomer has left', () => redirection(cluster) === undefined);
  return tookMs;
}

function latecomer(cluster: BenchCluster) {
  return cluster.pods.get({ namespace: 'late', name: 'latecomer' });
}

function redirection(cluster: BenchCluster): string | undefined {
  return latecomer(cluster)?.metadata.annotations?.[REDIRECTION];
}

/** kill -9; `release` lets the program start again and resolves with when it did (Unix time in ms). */
async function killAndHold(cluster: BenchCluster, component: string): Promise<{ release(): Promise<number> }> {
  const former = await pidOf(cluster, component);
  const file = holdFile(cluster.plan, component);
  await writeFile(file, '');
  process.kill(former, 'SIGKILL');
  while ((await findPid(cluster, component)) === former) await delay(POLL_MS);
  return {
    async release() {
      await rm(file);
      const pid = await pidOf(cluster, component);
      const uptimeMs = Number((await readFile('/proc/uptime', 'utf8')).split(' ')[0]) * 1_000;
      const bootedMs = Date.now() - uptimeMs;
      return bootedMs + Number(await processStartTime(pid)) * TICK_MS;
    },
  };
}

async function pidOf(cluster: BenchCluster, component: string): Promise<number> {
  for (;;) {
    const pid = await findPid(cluster, component);
    if (pid !== undefined) return pid;
    await delay(POLL_MS);
  }
}

async function findPid(cluster: BenchCluster, component: string): Promise<number | undefined> {
  const state = await findState(cluster.plan.stateDir);
  return state?.components.find(({ name }) => name === component)?.pid;
}

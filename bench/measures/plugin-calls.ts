/**
 * How long the mesh's CNI plugin takes for ADD, CHECK and DEL of a pod in the mesh, from the runtime's side: the process,
 * the agent's answer and, for ADD, the capture in the pod. The 40 pods of `arrivals.yaml` are made at once.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type LogFields, type Logger, silentLogger } from '../../src/core/logger.ts';
import { CniChain, type NodePlan, nodeDirs } from '../../src/local/index.ts';
import type { BenchCluster } from '../cluster.ts';

const PODS = 40;
const PLUGIN = 'istio-cni';
const CALL = /CNI plugin called.*/;

export type PluginCommand = 'ADD' | 'CHECK' | 'DEL';

/** Milliseconds of every call. */
export async function measurePluginCalls(
  cluster: BenchCluster,
): Promise<Readonly<Record<PluginCommand, readonly number[]>>> {
  const pods = () => cluster.pods.list('arrivals');
  const before = (await loggedCalls(cluster)).length;
  await cluster.apply('arrivals.yaml');
  const isRunning = () => pods().filter(({ status }) => status?.phase === 'Running').length === PODS;
  await cluster.until(`${PODS} running pods`, isRunning);
  const uids = new Set(pods().map(({ metadata }) => metadata.uid));
  const checks: number[] = [];
  for (const node of cluster.plan.nodes) checks.push(...(await checkPods(node, uids)));
  await cluster.delete('arrivals.yaml');
  const calls = async () => (await loggedCalls(cluster)).slice(before);
  const took = (all: readonly LoggedCall[], command: PluginCommand) =>
    all.filter((call) => call.command === command).map(({ durationMs }) => durationMs);
  await cluster.until('the end of the pods', () => pods().length === 0);
  const all = await calls();
  return { ADD: took(all, 'ADD'), CHECK: checks, DEL: took(all, 'DEL') };
}

interface LoggedCall {
  readonly command: string;
  readonly durationMs: number;
}

/** What the cluster's kubelets logged of calls to the plugin. */
async function loggedCalls(cluster: BenchCluster): Promise<readonly LoggedCall[]> {
  const text = await readFile(join(cluster.plan.logDir, 'supervisor.log'), 'utf8');
  return text
    .split('\n')
    .map((line) => CALL.exec(line)?.[0] ?? '')
    .filter((fields) => fields.includes(`plugin="${PLUGIN}"`) || fields.includes(`plugin=${PLUGIN} `))
    .map((fields) => ({
      command: /command="?([A-Z]+)/.exec(fields)?.[1] ?? '',
      durationMs: Number(/durationMs=(\d+)/.exec(fields)?.[1]),
    }));
}

/** Asks for every pod of `uids` on the node, one after the other. */
async function checkPods(node: NodePlan, uids: ReadonlySet<string | undefined>): Promise<readonly number[]> {
  const dirs = nodeDirs(node);
  const samples: number[] = [];
  const log: Logger = {
    ...silentLogger,
    info: (_message: string, fields?: LogFields) => {
      if (fields?.plugin === PLUGIN) samples.push(Number(fields.durationMs));
    },
  };
  const chain = new CniChain(dirs, log);
  for (const name of await readdir(dirs.cacheDir)) {
    const { attachment } = JSON.parse(await readFile(join(dirs.cacheDir, name), 'utf8')); // written by the chain itself
    if (uids.has(attachment.args.K8S_POD_UID)) await chain.check(attachment);
  }
  return samples;
}

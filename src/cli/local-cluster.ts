/**
 * Starting and ending local clusters from a command: the supervisor as a process of its own, and the wait until it says
 * that the cluster is ready. Shared by `culvert local`, the demo and the tests.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { dirname, extname, join } from 'node:path';
import { MeshError } from '../core/errors.ts';
import { fileSink, LogWriter } from '../core/log-writer.ts';
import { systemClock } from '../core/system-clock.ts';
import {
  type ClusterPlan,
  type ClusterState,
  findState,
  isSupervised,
  planCluster,
  processStartTime,
  removeCluster,
  removeRuntime,
  SYSTEM_PATH,
  stopSupervisor,
  superviseCluster,
  writeState,
} from '../local/index.ts';

export interface ClusterOptions {
  readonly name: string;
  /** Folder that holds one folder per cluster. */
  readonly root: string;
  readonly nodes: number;
  readonly mesh: boolean;
  /** Capture back-end asked of the agents: `auto`, `ebpf`, `nftables` or `iptables`. */
  readonly redirect: string;
  /** The cluster ends with this process, however that ends. */
  readonly tied?: boolean;
}

const READY_TIMEOUT_MS = 60_000;
const POLL_MS = 30;
const LOG_TAIL_LINES = 15;
/** The command beside this file, as TypeScript or built. */
const MAIN = join(import.meta.dirname, `main${extname(import.meta.filename)}`);

/** Throws ERR_UNSUPPORTED unless namespaces can be made here. */
export function checkMachine(): void {
  if (process.platform !== 'linux') throw new MeshError('ERR_UNSUPPORTED', 'a local cluster needs Linux');
  if (process.getuid?.() !== 0)
    throw new MeshError('ERR_UNSUPPORTED', 'a local cluster needs root: network namespaces');
}

/** Makes a cluster and returns when it is ready; its supervisor goes on in the background. */
export async function bringUp(options: ClusterOptions): Promise<ClusterPlan> {
  checkMachine();
  const plan = planOf(options);
  await claim(plan);
  const logFile = join(plan.logDir, 'supervisor.log');
  await mkdir(plan.logDir, { recursive: true, mode: 0o700 });
  const log = openSync(logFile, 'a');
  const child = spawn(process.execPath, [MAIN, 'local', 'supervise', ...supervisorArgs(options)], {
    cwd: '/',
    detached: true,
    stdio: [options.tied ? 'pipe' : 'ignore', log, log],
  });
  if (child.stdin instanceof Socket) child.stdin.on('error', () => {}).unref();
  closeSync(log);
  let ended = false;
  child.once('exit', () => {
    ended = true;
  });
  try {
    const deadline = systemClock.monotonicMs() + READY_TIMEOUT_MS;
    for (;;) {
      const state = await findState(plan.stateDir);
      if (state?.phase === 'ready') break;
      if (ended || state?.phase === 'failed') throw new MeshError('ERR_SYSTEM', await failureText(state, logFile));
      if (systemClock.monotonicMs() > deadline) {
        throw new MeshError('ERR_TIMEOUT', `the cluster is not ready; ${await failureText(state, logFile)}`);
      }
      await systemClock.sleep(POLL_MS);
    }
  } catch (error) {
    child.kill('SIGKILL');
    await removeCluster(plan);
    throw error;
  }
  child.unref();
  return plan;
}

/** Ends a cluster and removes all of it; one that is not there, or was left by a killed supervisor, is fine. */
export async function takeDown(name: string, root: string): Promise<void> {
  checkMachine();
  const state = await findState(join(root, name));
  const plan = planCluster(name, join(root, name), state?.nodeCount ?? 1);
  await stopSupervisor(plan, systemClock);
  await removeCluster(plan);
}

/** The supervisor itself: runs the cluster until `signal` aborts, then removes it. */
export async function supervise(options: ClusterOptions, env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<void> {
  checkMachine();
  const plan = planOf(options);
  const log = new LogWriter({ format: 'plain', filter: env.CULVERT_LOG ?? 'info', sink: fileSink(2) });
  const startTime = (await processStartTime(process.pid)) ?? '';
  let state: ClusterState = {
    name: options.name,
    nodeCount: options.nodes,
    phase: 'starting',
    mesh: options.mesh,
    supervisor: { pid: process.pid, startTime },
    components: [],
  };
  let written = Promise.resolve();
  const update = (change: Partial<ClusterState>): Promise<void> => {
    state = { ...state, ...change };
    written = written.catch(() => {}).then(() => writeState(plan.stateDir, state));
    return written;
  };
  await update({});
  try {
    await superviseCluster(
      {
        plan,
        clock: systemClock,
        log: log.logger,
        containerEnv: { PATH: `${dirname(process.execPath)}:${SYSTEM_PATH}` },
        ...(options.mesh ? { mesh: { redirect: options.redirect, program: [process.execPath, MAIN] } } : {}),
        onComponents: (components) => update({ components }),
        onReady: () => update({ phase: 'ready' }),
      },
      signal,
    );
    await update({ phase: 'stopping' });
    await removeCluster(plan);
  } catch (error) {
    if (signal.aborted) return await removeCluster(plan);
    log.logger.error('the cluster failed', { error: String(error) });
    await removeRuntime(plan);
    await update({ phase: 'failed', error: String(error) });
    throw error;
  } finally {
    log.flush();
  }
}

function planOf({ name, root, nodes }: ClusterOptions): ClusterPlan {
  return planCluster(name, join(root, name), nodes);
}

/** Makes sure that no such cluster runs, and clears what a killed one left behind. */
async function claim(plan: ClusterPlan): Promise<void> {
  const state = await findState(plan.stateDir);
  if (state && (await isSupervised(state))) {
    throw new MeshError(
      'ERR_CONFIG',
      `cluster '${plan.name}' is up already; end it with: culvert local down ${plan.name}`,
    );
  }
  await removeCluster(plan);
}

function supervisorArgs({ name, root, nodes, mesh, redirect, tied }: ClusterOptions): readonly string[] {
  return [
    name,
    ...(tied ? ['--tied'] : []),
    '--state-dir',
    root,
    '--nodes',
    String(nodes),
    '--redirect',
    redirect,
    ...(mesh ? [] : ['--no-mesh']),
  ];
}

async function failureText(state: ClusterState | undefined, logFile: string): Promise<string> {
  const tail = (await readFile(logFile, 'utf8').catch(() => '')).trimEnd().split('\n').slice(-LOG_TAIL_LINES);
  return [state?.error ?? 'the supervisor did not become ready', ...tail].join('\n  ');
}

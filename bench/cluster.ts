/** The local cluster that the benchmark runs in, by the same command a person would use. */
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { silentLogger } from '../src/core/logger.ts';
import { FileSource, type Informer } from '../src/kube/index.ts';
import { type ClusterPlan, DEFAULT_ROOT, findState, getPlan, type Pod } from '../src/local/index.ts';

const CULVERT = join(import.meta.dirname, '..', 'bin', 'culvert');
const READY_TIMEOUT_MS = 180_000;

export class BenchCluster implements AsyncDisposable {
  readonly name: string;
  readonly plan: ClusterPlan;
  readonly pods: Informer<Pod>;
  readonly #source: FileSource;

  private constructor(name: string, plan: ClusterPlan, source: FileSource) {
    this.name = name;
    this.plan = plan;
    this.#source = source;
    this.pods = source.informer<Pod>({ group: '', kind: 'Pod' });
  }

  static async start(name: string, flags: readonly string[]): Promise<BenchCluster> {
    await runCommand(CULVERT, ['local', 'up', name, ...flags], READY_TIMEOUT_MS);
    const plan = await getPlan(name, DEFAULT_ROOT);
    const source = await FileSource.open({ directory: plan.resourceDir, log: silentLogger });
    return new BenchCluster(name, plan, source);
  }

  local(...args: readonly string[]): Promise<string> {
    const [command = '', ...rest] = args;
    return runCommand(CULVERT, ['local', command, '--name', this.name, ...rest], READY_TIMEOUT_MS);
  }

  apply(manifest: string): Promise<string> {
    return this.local('apply', '-f', join(import.meta.dirname, 'manifests', manifest));
  }

  delete(manifest: string): Promise<string> {
    return this.local('delete', '-f', join(import.meta.dirname, 'manifests', manifest));
  }

  /** Runs in a pod until it ends; rejects when it fails or takes longer. */
  exec(pod: string, command: readonly string[], timeoutMs: number): Promise<string> {
    return runCommand(CULVERT, ['local', 'exec', '--name', this.name, '-n', 'bench', pod, '--', ...command], timeoutMs);
  }

  /** Starts a command in a pod; the caller ends it. */
  start(pod: string, command: readonly string[]) {
    const args = ['local', 'exec', '--name', this.name, '-n', 'bench', pod, '--', ...command];
    return spawn(CULVERT, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  }

  async until(what: string, condition: () => boolean, timeoutMs = READY_TIMEOUT_MS): Promise<void> {
    const endMs = performance.now() + timeoutMs;
    while (!condition()) {
      if (performance.now() > endMs) throw new Error(`${what} did not happen in ${timeoutMs / 1_000} s`);
      await delay(10);
    }
  }

  /** Resident memory of a component (`ztunnel/node1`), in MB. */
  async residentMb(component: string): Promise<number> {
    const state = await findState(this.plan.stateDir);
    const pid = state?.components.find(({ name }) => name === component)?.pid;
    if (pid === undefined) throw new Error(`no running component ${component}`);
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1_024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]();
    await runCommand(CULVERT, ['local', 'down', this.name], READY_TIMEOUT_MS);
  }
}

function runCommand(command: string, args: readonly string[], timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: timeoutMs });
    let output = '';
    let errors = '';
    child.stdout.on('data', (chunk) => {
      output += String(chunk);
    });
    child.stderr.on('data', (chunk) => {
      errors += String(chunk);
    });
    child.once('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${args.join(' ')} ended with ${code}: ${errors.slice(-400)}${output.slice(-400)}`));
    });
  });
}

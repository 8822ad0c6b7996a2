/**
 * A process in a network namespace, in its own cgroup, mount and UTS namespace with the cluster's resolv.conf. Used for
 * containers and for the node's components alike.
 *
 * Invariants
 *  - The process is in its cgroup before it runs a single instruction of its own, so that no socket escapes capture.
 *  - Ending it ends all it started: the cgroup is killed, not the process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createCgroup, processesOf, removeCgroup } from './cgroup.ts';
import { netnsPath } from './cluster-plan.ts';

export interface ProcessSpec {
  readonly netns: string;
  /** Absolute path of the cgroup2 folder, made when absent. */
  readonly cgroup: string;
  readonly resolvConf: string;
  readonly hostname: string;
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** stdout and stderr are appended here. */
  readonly logFile: string;
}

/** Joins the cgroup, gives the process its own names, then becomes the command. Arguments are passed, never spliced. */
const ENTRY = [
  'echo $$ > "$1/cgroup.procs" || exit 125',
  'mount --bind "$2" /etc/resolv.conf || exit 125',
  'hostname "$3"',
  'shift 3',
  'exec "$@"',
].join('\n');

export class ContainerProcess {
  readonly #child: ChildProcess;
  readonly #cgroup: string;
  /** Resolves with the exit code, 128 and the signal's number when one ended it. Never rejects. */
  readonly exited: Promise<number>;

  private constructor(child: ChildProcess, cgroup: string) {
    this.#child = child;
    this.#cgroup = cgroup;
    this.exited = new Promise((resolve) => {
      child.once('error', () => resolve(127));
      child.once('exit', (code) => resolve(code ?? 128));
    });
  }

  /** Starts the process; a command that does not exist shows as exit code 127. */
  static async start(spec: ProcessSpec): Promise<ContainerProcess> {
    await createCgroup(spec.cgroup);
    await mkdir(dirname(spec.logFile), { recursive: true });
    const log = openSync(spec.logFile, 'a');
    try {
      const child = spawn('nsenter', [...entryArgs(spec)], {
        cwd: spec.cwd,
        env: spec.env,
        stdio: ['ignore', log, log],
        detached: true, // own process group: a terminal's Ctrl-C reaches the supervisor alone
      });
      return new ContainerProcess(child, spec.cgroup);
    } finally {
      closeSync(log);
    }
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** SIGTERM, and after `graceMs` SIGKILL to all that is left. Resolves when nothing of it runs any more. */
  async stop(graceMs: number): Promise<void> {
    this.signal('SIGTERM');
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, graceMs);
    });
    await Promise.race([this.exited, late]);
    clearTimeout(timer);
    await removeCgroup(this.#cgroup);
    await this.exited;
  }

  /** Removes what a process left behind that ended by itself. */
  async clear(): Promise<void> {
    await removeCgroup(this.#cgroup);
  }

  /** Ids of everything running in the container. */
  async processes(): Promise<readonly number[]> {
    return await processesOf(this.#cgroup);
  }
}

/** Arguments for `nsenter`: the whole way from the supervisor's namespaces to the command. */
export function entryArgs(spec: Pick<ProcessSpec, 'netns' | 'cgroup' | 'resolvConf' | 'hostname' | 'command'>) {
  const { netns, cgroup, resolvConf, hostname, command } = spec;
  const unshare = ['unshare', '--mount', '--uts', '--propagation', 'slave'];
  return [`--net=${netnsPath(netns)}`, ...unshare, 'sh', '-c', ENTRY, 'sh', cgroup, resolvConf, hostname, ...command];
}

/** Text of a pod's resolv.conf. */
export function resolvConfText(namespace: string, nameservers: readonly string[]): string {
  const search = [`${namespace}.svc.cluster.local`, 'svc.cluster.local', 'cluster.local'];
  return [...nameservers.map((ip) => `nameserver ${ip}`), `search ${search.join(' ')}`, 'options ndots:5', ''].join(
    '\n',
  );
}

/** cgroup folder of a container, laid out as a runtime does, so that a process tells its pod. */
export function containerCgroup(nodeCgroup: string, podUid: string, containerId: string): string {
  return join(podCgroup(nodeCgroup, podUid), containerId);
}

export function podCgroup(nodeCgroup: string, podUid: string): string {
  return join(nodeCgroup, 'kubepods', `pod${podUid}`);
}

/** Folder for a command that joins a running pod: below the pod, so that its capture applies. */
export async function podEntryCgroup(nodeCgroup: string, podUid: string): Promise<string> {
  const path = join(podCgroup(nodeCgroup, podUid), 'exec');
  await createCgroup(path);
  return path;
}

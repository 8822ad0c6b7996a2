/**
 * The cgroup2 folders and pins of one node, for tests: `pods` for apps and `tunnel(name)` for tunnels. Names carry the
 * process id; what a killed test left is removed by the next one.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BpfMap } from 'ebpf-loader-ts';
import { ensureBpffs, removePins } from '../../src/bpf/index.ts';
import { eventually } from '../support/eventually.ts';

const PREFIX = 'cvt-bpf-';
const BPFFS = '/sys/fs/bpf';
const OWN_MOUNT = '/run/culvert-cgroup2';
let count = 0;

export class NodeCgroup implements AsyncDisposable {
  readonly #mount: string;
  readonly #folder: string;
  readonly pinDir: string;
  #entered = false;

  private constructor(mount: string) {
    const name = `${PREFIX}${process.pid}-${count++}`;
    this.#mount = mount;
    this.#folder = join(mount, name);
    this.pinDir = join(BPFFS, name);
    mkdirSync(this.pods, { recursive: true });
  }

  static async create(): Promise<NodeCgroup> {
    await ensureBpffs();
    const mount = cgroup2Mount();
    removeLeft(mount);
    return new NodeCgroup(mount);
  }

  get pods(): string {
    return join(this.#folder, 'pods');
  }

  /** A folder for a tunnel, made when it is not there. */
  tunnel(name: string): string {
    const path = join(this.#folder, `tunnel-${name}`);
    mkdirSync(path, { recursive: true });
    return path;
  }

  /** Puts this process among the apps; sockets made from now on belong to them. */
  enterPods(): void {
    this.#entered = true;
    writeFileSync(join(this.pods, 'cgroup.procs'), String(process.pid));
  }

  /** Puts this process back where no program of ours is attached. */
  #leavePods(): void {
    writeFileSync(join(this.#mount, 'cgroup.procs'), String(process.pid));
  }

  /** Every pin of the node and the number of known pods and addresses, one a line. */
  kept(): string {
    if (!existsSync(this.pinDir)) return '';
    const counts = ['pods', 'owners', 'tunnel_connections'].map((name) => {
      using map = BpfMap.openPinned(join(this.pinDir, 'maps', name));
      return `${[...map.keys()].length} ${name}`;
    });
    return [...readdirSync(this.pinDir, { recursive: true }).map(String).sort(), ...counts].join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#entered) this.#leavePods();
    removePins(this.pinDir);
    await eventually(() => removeFolders(this.#folder));
  }
}

function cgroup2Mount(): string {
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '));
  const found = mounts.find(([, , type]) => type === 'cgroup2')?.[1];
  if (found !== undefined) return found;
  mkdirSync(OWN_MOUNT, { recursive: true });
  execFileSync('mount', ['-t', 'cgroup2', 'none', OWN_MOUNT]);
  return OWN_MOUNT;
}

/** What tests that were killed left behind. */
function removeLeft(mount: string): void {
  for (const dir of [mount, BPFFS]) {
    for (const name of readdirSync(dir)) {
      const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
      if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
      if (dir === BPFFS) removePins(join(dir, name));
      else removeFolders(join(dir, name));
    }
  }
}

/** True when all are gone; processes that are still being reaped keep theirs. */
function removeFolders(folder: string): boolean {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory() && !removeFolders(join(folder, entry.name))) return false;
    }
    rmdirSync(folder);
    return true;
  } catch {
    return !existsSync(folder);
  }
}

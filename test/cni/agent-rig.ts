/**
 * A node agent in this process, a node and pods as namespaces, the real plugin, and a tunnel that only answers. Names
 * carry the process id; all is removed on dispose.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createNetns, Netns, removeNetns } from 'culvert-netns';
import { startNodeAgent } from '../../src/cni/agent/node-agent.ts';
import { agentMetrics, BackendChoice, DEFAULT_SELECTORS } from '../../src/cni/index.ts';
import { NftablesBackend, type RunCommand, runCommand } from '../../src/cni/redirect/index.ts';
import type { Logger } from '../../src/core/logger.ts';
import { silentLogger } from '../../src/core/logger.ts';
import { newMetricsRegistry } from '../../src/core/metrics.ts';
import { systemClock } from '../../src/core/system-clock.ts';
import { FileSource, FileWriter, type KubeObject } from '../../src/kube/index.ts';
import { call, config, environment, type Outcome } from '../native/cni-call.ts';

const NODE = 'node1';
const PREFIX = 'cvt-agent';
let count = 0;

export interface PodPlace {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly ip: string;
  readonly netnsPath: string;
}

export interface AgentRun extends AsyncDisposable {
  readonly source: FileSource;
  uninstall(): Promise<void>;
  metric(pattern: RegExp): Promise<number>;
}

export class AgentRig implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), `${PREFIX}-${process.pid}-`));
  readonly #prefix = `${PREFIX}-${process.pid}-${count++}`;
  readonly node: Netns;
  readonly #namespaces: string[] = [];
  readonly #cgroup: string;
  readonly #cgroups: string[] = [];
  readonly #processes: ChildProcess[] = [];
  #ips = 1;

  constructor() {
    if (count === 1) sweep();
    this.node = createNetns(`/run/netns/${this.#prefix}-node`);
    this.#namespaces.push(`${this.#prefix}-node`);
    this.#cgroup = this.#makeCgroup(join(cgroup2(), this.#prefix));
    this.#makeCgroup(join(this.#cgroup, 'kubepods'));
    mkdirSync(this.runDir, { recursive: true });
  }

  get runDir(): string {
    return join(this.dir, 'run');
  }

  get zdsPath(): string {
    return join(this.dir, 'ztunnel.sock');
  }

  get resourceDir(): string {
    return join(this.dir, 'resources');
  }

  /** Programs that the agent runs in its own namespace run in the rig's node instead. */
  get run(): RunCommand {
    return (netns, command, options) => runCommand(netns ?? this.node, command, options);
  }

  write(name: string, object: KubeObject & { readonly spec?: unknown; readonly status?: unknown }): void {
    mkdirSync(this.resourceDir, { recursive: true });
    writeFileSync(join(this.resourceDir, `${name}.yaml`), JSON.stringify(object));
  }

  remove(name: string): void {
    rmSync(join(this.resourceDir, `${name}.yaml`));
  }

  namespace(name: string, labels: Readonly<Record<string, string>> = {}): void {
    this.write(`ns-${name}`, { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
  }

  /** A pod's object and its namespace with an address; it has no process and, as a new pod, no address in its status. */
  pod(
    name: string,
    { namespace = 'shop', labels = {} as Readonly<Record<string, string>>, known = true } = {},
  ): PodPlace {
    const netns = `${this.#prefix}-${name}`;
    const place = {
      uid: randomUUID(),
      name,
      namespace,
      ip: `10.77.${this.#ips++}.2`,
      netnsPath: `/run/netns/${netns}`,
    };
    this.sandbox(place, netns);
    if (known) this.#writePod(place, labels, {});
    return place;
  }

  sandbox(place: PodPlace, netns: string): void {
    createNetns(`/run/netns/${netns}`)[Symbol.dispose]();
    this.#namespaces.push(netns);
    const node = `${this.#prefix}-node`;
    const cable = `pod${this.#namespaces.length}`;
    ip('link', 'add', 'eth0', 'netns', netns, 'type', 'veth', 'peer', 'name', cable, 'netns', node);
    for (const [name, device, address] of [
      [netns, 'eth0', place.ip],
      [node, cable, place.ip.replace(/\.2$/, '.1')],
    ] as const) {
      ip('-n', name, 'addr', 'add', `${address}/24`, 'dev', device);
      ip('-n', name, 'link', 'set', device, 'up');
    }
  }

  /** The kubelet's part after ADD: a process in the pod's cgroup and namespace, and the address in the status. */
  start(place: PodPlace, command: readonly string[] = ['sleep', '1000']): void {
    const folder = this.#makeCgroup(join(this.#cgroup, 'kubepods', `pod${place.uid}`));
    const script = `echo $$ > ${folder}/cgroup.procs && exec nsenter --net=${place.netnsPath} "$@"`;
    this.#processes.push(spawn('sh', ['-c', script, 'sh', ...command], { stdio: 'ignore' }));
    this.#writePod(place, {}, { phase: 'Running', podIP: place.ip });
  }

  end(place: PodPlace): void {
    this.remove(`pod-${place.name}`);
  }

  async agent(log: Logger = silentLogger): Promise<AgentRun> {
    const scope = new AsyncDisposableStack();
    const source = scope.use(await FileSource.open({ directory: this.resourceDir, log }));
    const registry = newMetricsRegistry();
    const backends = scope.use(await BackendChoice.open([new NftablesBackend(this.run)], undefined, log));
    const settings = {
      nodeName: NODE,
      runDir: this.runDir,
      zdsPath: this.zdsPath,
      hostMountsDir: '',
      rules: {
        selectors: DEFAULT_SELECTORS,
        excludedNamespaces: new Set(['kube-system']),
        systemNamespace: 'istio-system',
      },
      defaults: { dnsCapture: true, ipv6: true },
      procfs: { procDir: '/proc', kubepodsCgroup: join(this.#cgroup, 'kubepods') },
      lingerMs: 20,
    };
    const writer = new FileWriter({ source, manager: `culvert-cni-${NODE}` });
    const deps = { source, writer, backends, run: this.run, metrics: agentMetrics(registry), clock: systemClock, log };
    const agent = scope.use(await startNodeAgent(settings, deps, AbortSignal.timeout(20_000)));
    return {
      source,
      uninstall: () => agent.uninstall(),
      async metric(pattern) {
        const line = (await registry.metrics()).split('\n').find((text) => pattern.test(text));
        return Number(line?.split(' ').at(-1) ?? Number.NaN);
      },
      [Symbol.asyncDispose]: () => scope.disposeAsync(),
    };
  }

  /** ADD by the real plugin. */
  async add(
    place: PodPlace,
    { netnsPath = place.netnsPath, more = {} as Record<string, unknown> } = {},
  ): Promise<Outcome> {
    const prevResult = { cniVersion: '1.0.0', interfaces: [], ips: [{ address: `${place.ip}/24` }] };
    const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=${place.namespace};K8S_POD_NAME=${place.name}`;
    return await call(
      config(this.runDir, { prevResult, ...more }),
      environment('ADD', { CNI_NETNS: netnsPath, CNI_ARGS: args }),
    );
  }

  /** What a packet would meet there. */
  async capture(place: PodPlace): Promise<'absent' | 'draining' | 'capturing'> {
    using netns = Netns.open(place.netnsPath);
    const { status, stdout } = await runCommand(netns, ['nft', 'list', 'table', 'inet', 'istio-ambient-nat']);
    if (status !== 0) return 'absent';
    return stdout.includes('redirect to') ? 'capturing' : 'draining';
  }

  /** Addresses whose probes pass. */
  async probed(): Promise<string> {
    return (await runCommand(this.node, ['nft', 'list', 'ruleset'])).stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#processes) child.kill('SIGKILL');
    await Promise.all(this.#processes.map(exited));
    for (const path of this.#cgroups.toReversed()) rmdirSync(path);
    this.node[Symbol.dispose]();
    for (const name of this.#namespaces) removeNetns(`/run/netns/${name}`);
    rmSync(this.dir, { recursive: true, force: true });
  }

  #writePod({ uid, name, namespace }: PodPlace, labels: Readonly<Record<string, string>>, status: object): void {
    const metadata = { name, namespace, uid, labels };
    this.write(`pod-${name}`, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata,
      spec: { nodeName: NODE, containers: [] },
      status,
    });
  }

  #makeCgroup(path: string): string {
    mkdirSync(path);
    this.#cgroups.push(path);
    return path;
  }
}

/** Removes what test processes that were killed left behind. */
function sweep(): void {
  const left = (dir: string): string[] =>
    readdirSync(dir)
      .filter((name) => {
        const pid = new RegExp(`^${PREFIX}-(\\d+)-`).exec(name)?.[1];
        return pid !== undefined && !existsSync(`/proc/${pid}`);
      })
      .map((name) => join(dir, name));
  for (const path of left(cgroup2())) {
    writeFileSync(join(path, 'cgroup.kill'), '1');
    // What has not ended yet is left for the next run.
    spawnSync('/usr/bin/find', [path, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', '+'], { stdio: 'ignore' });
  }
  for (const path of left('/run/netns')) removeNetns(path);
  for (const path of left(tmpdir())) rmSync(path, { recursive: true, force: true });
}

function cgroup2(): string {
  for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
    const [, point = '', type] = line.split(' ');
    if (type === 'cgroup2') return point;
  }
  throw new Error('no cgroup2 is mounted');
}

function ip(...args: readonly string[]): void {
  execFileSync('/usr/sbin/ip', args, { stdio: 'pipe' });
}

function exited(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

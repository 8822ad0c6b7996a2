/**
 * A node with a real agent process, a directory of manifests as its API, and one pod. The plugin is called as a container
 * runtime does; a process in a folder of the pod's cgroup stands for its containers.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createNetns, type Netns, removeNetns } from 'culvert-netns';
import { silentLogger } from '../../src/core/logger.ts';
import { FileSource } from '../../src/kube/index.ts';
import { NodeCgroup } from '../bpf/node-cgroup.ts';
import { call, config, environment, type Outcome } from '../native/cni-call.ts';
import { eventually } from '../support/eventually.ts';
import { POD, PodLab } from './pod-lab.ts';
import { ZdsTunnel } from './zds-tunnel.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const PRIMARY = '{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"ptp"}]}';
const AMBIENT = 'istio.io/dataplane-mode: ambient';

export class AgentLab implements AsyncDisposable {
  readonly lab = new PodLab();
  /** Where the agent runs. Not the pod's node by default, so that what the node sends is not taken for a probe. */
  agentNetns: Netns;
  readonly #ownPath = `/run/netns/cvt-cap-${process.pid}-${randomUUID().slice(0, 8)}`;
  readonly #own = createNetns(this.#ownPath);
  readonly #root = mkdtempSync(join(tmpdir(), 'cvt-agent-'));
  readonly #cgroup: NodeCgroup;
  readonly #backend: string;
  readonly #source: FileSource;
  #agent: ChildProcess | undefined;
  #container: ChildProcess | undefined;

  private constructor(cgroup: NodeCgroup, backend: string, root: (lab: AgentLab) => FileSource) {
    this.agentNetns = this.#own;
    this.#cgroup = cgroup;
    this.#backend = backend;
    this.#source = root(this);
  }

  static async create(backend = 'nftables'): Promise<AgentLab> {
    const cgroup = await NodeCgroup.create();
    cgroup.enterPods();
    const directory = mkdtempSync(join(tmpdir(), 'cvt-api-'));
    const source = await FileSource.open({ directory, log: silentLogger });
    const lab = new AgentLab(cgroup, backend, () => source);
    mkdirSync(lab.path('net.d'));
    writeFileSync(join(lab.path('net.d'), '10-net.conflist'), PRIMARY);
    lab.namespace(false);
    return lab;
  }

  path(name: string): string {
    return join(this.#root, name);
  }

  get log(): string {
    return existsSync(this.path('agent.log')) ? readFileSync(this.path('agent.log'), 'utf8') : '';
  }

  /** Writes a manifest; absent text removes it. */
  manifest(name: string, text?: string): void {
    const file = join(this.#source.directory, `${name}.yaml`);
    if (text === undefined) rmSync(file, { force: true });
    else writeFileSync(file, text);
  }

  namespace(isAmbient: boolean): void {
    const labels = isAmbient ? `{${AMBIENT}}` : '{}';
    this.manifest('namespace', `{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: ${labels}}}`);
  }

  /** The pod's object, without addresses as long as it has no sandbox. */
  pod(phase: 'Pending' | 'Running' | undefined, options: { labels?: string; annotations?: string } = {}): void {
    if (phase === undefined) {
      this.manifest('pod');
      return;
    }
    const { labels = '', annotations = '' } = options;
    const ips = phase === 'Running' ? `, podIP: ${POD[4]}, podIPs: [{ip: ${POD[4]}}, {ip: '${POD[6]}'}]` : '';
    this.manifest(
      'pod',
      `apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, uid: ${this.lab.uid}, labels: {app: cart, ${labels}}, annotations: {${annotations}}}
spec: {nodeName: node1, serviceAccountName: cart, containers: [{name: c}]}
status: {phase: ${phase}${ips}}
`,
    );
  }

  /** A process of the pod, so that its namespace can be found. */
  async runContainer(): Promise<void> {
    const cgroup = join(this.#cgroup.pods, `pod${this.lab.uid}`);
    mkdirSync(cgroup, { recursive: true });
    const enter = 'echo $$ > "$1/cgroup.procs"; echo in; exec sleep infinity';
    this.#container = spawn('nsenter', [`--net=${this.lab.podPath}`, 'sh', '-c', enter, 'sh', cgroup], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(this.#container.stdout as NodeJS.ReadableStream, 'data');
  }

  /** Resolves when the agent is ready. `prefix` is a program that runs it. */
  async startAgent(prefix: readonly string[] = []): Promise<void> {
    const env = {
      PATH: process.env.PATH,
      NODE_NAME: 'node1',
      RESOURCE_DIR: this.#source.directory,
      CNI_AGENT_RUN_DIR: this.path('run'),
      ZTUNNEL_UDS_ADDRESS: this.path('ztunnel/ztunnel.sock'),
      MOUNTED_CNI_NET_DIR: this.path('net.d'),
      CNI_BIN_DIR: this.path('bin'),
      REDIRECT_BACKEND: this.#backend,
      KUBEPODS_CGROUP: this.#cgroup.pods,
      BPF_PIN_DIR: this.#cgroup.pinDir,
      UNENROL_LINGER: '100ms',
      LOG_LEVEL: 'debug',
    };
    const log = this.path('agent.log');
    const script = `exec "$0" "$@" >> ${log} 2>&1`;
    const netns = `--net=/proc/${process.pid}/fd/${this.agentNetns.fd}`;
    this.#agent = spawn('nsenter', [netns, ...prefix, 'sh', '-c', script, process.execPath, MAIN, 'cni'], {
      env,
      stdio: 'ignore',
    });
    const agent = this.#agent;
    await eventually(() => {
      if (agent.exitCode !== null) throw new Error(`the agent ended: ${this.log}`);
      return existsSync(join(this.path('run'), 'pluginevent.sock')) && this.log.includes('node agent ready');
    }, 'the agent');
  }

  async endAgent(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const agent = this.#agent;
    if (agent === undefined || agent.exitCode !== null || agent.signalCode !== null) return null;
    agent.kill(signal);
    const [code] = await once(agent, 'exit');
    writeFileSync(this.path('agent.log'), '');
    return code;
  }

  /** The tunnel is this process, in a cgroup of tunnels: eBPF lets pass what it opens. */
  connectTunnel(): Promise<ZdsTunnel> {
    writeFileSync(join(this.#cgroup.tunnel('a'), 'cgroup.procs'), String(process.pid));
    return ZdsTunnel.connect(this.path('ztunnel/ztunnel.sock'));
  }

  /** The runtime's call for the pod. */
  cni(verb: string, more: { name?: string; namespace?: string; netns?: string; ip?: string } = {}): Promise<Outcome> {
    const { name = 'cart', namespace = 'shop', netns = this.lab.podPath, ip = POD[4] } = more;
    const prevResult = { cniVersion: '1.0.0', interfaces: [], ips: [{ address: `${ip}/24` }] };
    const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name}`;
    const env = environment(verb, { CNI_NETNS: netns, CNI_ARGS: args });
    return call(config(this.path('run'), { exclude_namespaces: ['kube-system'], prevResult }), env);
  }

  annotation(name = 'ambient.istio.io/redirection'): string | undefined {
    const pod = this.#source.find({ group: '', kind: 'Pod' }, { namespace: 'shop', name: 'cart' });
    return pod?.metadata.annotations?.[name];
  }

  annotated(value: string | undefined): Promise<void> {
    return eventually(() => this.annotation() === value, `annotation ${value}`).catch((error: Error) => {
      throw new Error(`${error.message}; agent: ${this.log}`);
    });
  }

  /** Asks an HTTP server of the agent; the answer ends with the status. */
  get(port: number, path: string): string {
    const node = `--net=/proc/${process.pid}/fd/${this.agentNetns.fd}`;
    const url = `http://127.0.0.1:${port}${path}`;
    return execFileSync('nsenter', [node, 'curl', '-s', '-w', '\n%{http_code}', url], { encoding: 'utf8' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { directory } = this.#source;
    try {
      await this.endAgent('SIGKILL');
      this.#container?.kill('SIGKILL');
      await this.#source[Symbol.asyncDispose]();
      await this.lab[Symbol.asyncDispose]();
      removeNetns(this.#ownPath);
      this.#own[Symbol.dispose]();
      await this.#cgroup[Symbol.asyncDispose]();
    } finally {
      for (const dir of [this.#root, directory]) rmSync(dir, { recursive: true, force: true });
    }
  }
}

/** A real controller process over a directory of its own, with its ports and a client's view of it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { silentLogger } from '../../src/core/logger.ts';
import { systemClock } from '../../src/core/system-clock.ts';
import type { Authorization } from '../../src/model/authorization.ts';
import {
  type Address,
  addressSubscription,
  authorizationSubscription,
  DiscoveryClient,
  tunnelNodeId,
} from '../../src/xds/index.ts';
import { eventually } from '../support/eventually.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
export const TOKEN = 'tunnel-of-node1';

interface Ports {
  readonly xds: number;
  readonly metrics: number;
  readonly ready: number;
}

export class ControllerProcess implements AsyncDisposable {
  readonly directory: string;
  readonly resources: string;
  readonly tokensFile: string;
  readonly #env: Record<string, string>;
  #child: ChildProcess | undefined;
  #ports: Ports | undefined;
  output = '';

  private constructor(directory: string) {
    this.directory = directory;
    this.resources = join(directory, 'resources');
    this.tokensFile = join(directory, 'tokens.csv');
    this.#env = {
      PATH: process.env.PATH ?? '',
      NODE_NO_WARNINGS: '1',
      RESOURCE_DIR: this.resources,
      CA_DIR: join(directory, 'ca'),
      TOKENS_FILE: this.tokensFile,
      CACERTS_DIR: join(directory, 'no-cacerts'),
      LISTEN_HOST: '127.0.0.1',
      LISTEN_PORT: '0',
      METRICS_PORT: '0',
      READY_PORT: '0',
      PORTS_FILE: join(directory, 'ports.json'),
    };
  }

  /** With these files in its directory from the start. */
  static async start(files: Readonly<Record<string, string>> = {}): Promise<ControllerProcess> {
    const controller = new ControllerProcess(await mkdtemp(join(tmpdir(), `culvert-controller-${process.pid}-`)));
    await mkdir(controller.resources);
    const user = 'system:serviceaccount:istio-system:ztunnel';
    await writeFile(controller.tokensFile, `${TOKEN},${user},u,"system:serviceaccounts",ztunnel-1,ztunnel-1-uid\n`);
    for (const [name, text] of Object.entries(files)) await controller.put(name, text);
    await controller.restart();
    return controller;
  }

  get ports(): Ports {
    if (!this.#ports) throw new Error('the controller does not run');
    return this.#ports;
  }

  /** Starts it, on the port it had before if it had one. */
  async restart(): Promise<void> {
    const portsFile = this.#env.PORTS_FILE ?? '';
    await rm(portsFile, { force: true });
    if (this.#ports) this.#env.LISTEN_PORT = String(this.#ports.xds);
    const child = spawn(process.execPath, [MAIN, 'controller'], {
      env: this.#env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    child.stderr?.on('data', (data: Buffer) => {
      this.output += data.toString();
    });
    await eventually(
      async () => {
        if (child.exitCode !== null) throw new Error(`controller ended: ${this.output}`);
        const text = await readFile(portsFile, 'utf8').catch(() => undefined);
        if (text !== undefined) this.#ports = JSON.parse(text) as Ports;
        return text !== undefined;
      },
      'the controller is ready',
      60_000,
    );
  }

  async kill(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
    return child.exitCode;
  }

  /** Puts a file in place as editors do. */
  async put(name: string, text: string): Promise<void> {
    const temporary = join(this.directory, `${name}.tmp`);
    await writeFile(temporary, text);
    await rename(temporary, join(this.resources, name));
  }

  remove(name: string): Promise<void> {
    return rm(join(this.resources, name));
  }

  rootsPem(): Promise<string> {
    return readFile(join(this.#env.CA_DIR ?? '', 'root-cert.pem'), 'utf8');
  }

  async get(path: string, port = this.ports.ready): Promise<{ status: number; body: string }> {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: response.status, body: await response.text() };
  }

  endpoint(roots: string, token = TOKEN) {
    return {
      address: `https://localhost:${this.ports.xds}`,
      roots: { text: roots },
      token: { text: token },
      headers: { clusterid: 'Kubernetes' },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill('SIGKILL');
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** What a node tunnel knows. */
export class Subscriber implements AsyncDisposable {
  readonly addresses = new Map<string, Address>();
  readonly policies = new Map<string, Authorization>();
  readonly ended: string[] = [];
  readonly client: DiscoveryClient;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  private constructor(endpoint: ReturnType<ControllerProcess['endpoint']>, namespace: string) {
    this.client = new DiscoveryClient({
      endpoint,
      node: {
        id: tunnelNodeId({ ip: '127.0.0.1', pod: 'ztunnel-1', namespace }),
        metadata: { NAMESPACE: namespace, NODE_NAME: 'node1' },
      },
      subscriptions: [
        addressSubscription('wildcard', ({ updated, removed }) => {
          for (const { name, value } of updated) this.addresses.set(name, value);
          for (const name of removed) this.addresses.delete(name);
        }),
        authorizationSubscription(({ updated, removed }) => {
          for (const { name, value } of updated) this.policies.set(name, value);
          for (const name of removed) this.policies.delete(name);
        }),
      ],
      clock: systemClock,
      log: silentLogger,
      onTermination: (reason) => this.ended.push(reason),
    });
    this.#running = this.client.run(this.#stop.signal);
  }

  static async connect(
    controller: ControllerProcess,
    { token = TOKEN, namespace = 'istio-system' } = {},
  ): Promise<Subscriber> {
    return new Subscriber(controller.endpoint(await controller.rootsPem(), token), namespace);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

/** Control planes over a real API server, as processes: several of them are replicas of one. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { parse } from 'yaml';
import { type ApiClient, ClientWriter, type KubeObject } from '../../src/kube/index.ts';
import { eventually } from '../support/eventually.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface ControllerPorts {
  readonly xds: number;
  readonly metrics: number;
  readonly ready: number;
}

export interface ControllerProcess {
  readonly child: ChildProcess;
  readonly ports: ControllerPorts;
  /** What it has logged. */
  output(): string;
  /** Ends it as Kubernetes would, or at once; resolves when it is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Our definitions of Istio's kinds. They stay. */
export async function applyCrds(api: ApiClient): Promise<void> {
  const folder = join(ROOT, 'deploy/crds');
  for (const file of await readdir(folder)) {
    const crd = parse(await readFile(join(folder, file), 'utf8')) as KubeObject;
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${crd.metadata.name}`;
    const query = { fieldManager: 'e2e', force: 'true' };
    const call = { method: 'PATCH', path, query, body: crd, contentType: 'application/apply-patch+yaml' } as const;
    const answer = await api.callPatiently(call);
    if (answer.status >= 300) throw new Error(`${file}: ${JSON.stringify(answer.body)}`);
  }
}

/** Namespaces with accounts, gone after the test. */
export async function makeNamespaces(
  t: ExecutionContext,
  api: ApiClient,
  wanted: Readonly<Record<string, readonly string[]>>,
): Promise<ClientWriter> {
  const person = new ClientWriter({ api, manager: 'e2e' });
  t.teardown(async () => {
    for (const name of Object.keys(wanted)) await api.call({ method: 'DELETE', path: `/api/v1/namespaces/${name}` });
  });
  for (const [namespace, accounts] of Object.entries(wanted)) {
    await person.applyObject({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    for (const name of ['default', ...accounts]) {
      await person.applyObject({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } });
    }
  }
  return person;
}

/** A pod that no kubelet runs. */
export function pod(namespace: string, account: string, node: string): KubeObject {
  const containers = [{ name: 'app', image: 'example.invalid/app' }];
  const spec = { nodeName: node, serviceAccountName: account, automountServiceAccountToken: false, containers };
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name: account, namespace }, spec } as KubeObject;
}

/** A token of an account that is bound to its pod of the same name. */
export async function podToken(
  api: ApiClient,
  { namespace, name, uid }: { readonly namespace: string; readonly name: string; readonly uid: string },
  audience = 'istio-ca',
): Promise<string> {
  const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', name, uid };
  const spec = { audiences: [audience], expirationSeconds: 3_600, boundObjectRef };
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`;
  const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec };
  const answer = await api.callPatiently({ method: 'POST', path, body, contentType: 'application/json' });
  return (answer.body as { status: { token: string } }).status.token;
}

/** A replica that is ready; it is gone after the test. */
export async function startController(
  t: ExecutionContext,
  name: string,
  env: Readonly<Record<string, string>>,
): Promise<ControllerProcess> {
  const directory = await mkdtemp(join(tmpdir(), `culvert-e2e-${process.pid}-`));
  const portsFile = join(directory, 'ports.json');
  const child = spawn(process.execPath, [join(ROOT, 'src/cli/main.ts'), 'controller'], {
    env: {
      ...{ PATH: process.env.PATH, KUBECONFIG: process.env.KUBECONFIG, NODE_NO_WARNINGS: '1', POD_NAME: name },
      ...{ CACERTS_DIR: join(directory, 'none'), PORTS_FILE: portsFile, LISTEN_HOST: '127.0.0.1' },
      ...{ LISTEN_PORT: '0', METRICS_PORT: '0', READY_PORT: '0' },
      ...env,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let output = '';
  child.stderr?.on('data', (data: Buffer) => {
    output += data.toString();
  });
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    if (child.exitCode === null && child.signalCode === null && child.kill(signal)) await once(child, 'exit');
  };
  t.teardown(async () => {
    await stop('SIGKILL');
    await rm(directory, { recursive: true, force: true });
  });
  let ports: ControllerPorts | undefined;
  await eventually(async () => {
    if (child.exitCode !== null) throw new Error(`controller ${name} ended: ${output}`);
    const text = await readFile(portsFile, 'utf8').catch(() => 'null');
    ports = (JSON.parse(text) as ControllerPorts | null) ?? undefined;
    return ports !== undefined;
  }, `controller ${name} is ready`);
  if (!ports) throw new Error('unreachable: it was just seen');
  return { child, ports, output: () => output, stop };
}

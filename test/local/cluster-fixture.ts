/**
 * Local clusters for tests: named after the process, in a state folder of their own, gone when the test ends or dies.
 * A cluster ends with its test's process even when that is killed: its supervisor hangs on a pipe.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { bringUp, takeDown } from '../../src/cli/local-cluster.ts';
import { clusterPods, matchPods, podEntry } from '../../src/cli/local-pods.ts';
import {
  type ClusterPlan,
  entryArgs,
  findState,
  isReady,
  labelObject,
  type Pod,
  parseObjects,
  type RunResult,
  remainsOf,
  removeObjects,
  runAny,
  SYSTEM_PATH,
  storeObjects,
} from '../../src/local/index.ts';

export interface FixtureOptions {
  readonly mesh: boolean;
  readonly redirect?: string;
  readonly name?: string;
}

let count = 0;

/** A cluster that is ready. Dispose to end it. */
export async function startCluster({ mesh, redirect = 'auto', name: given }: FixtureOptions): Promise<TestCluster> {
  count += 1;
  const name = given ?? `t${process.pid}-${count}`;
  const root = await mkdtemp(join(tmpdir(), 'culvert-'));
  try {
    const plan = await bringUp({ name, root, nodes: 2, mesh, redirect, tied: true });
    return new TestCluster(plan, root);
  } catch (error) {
    await rm(root, { recursive: true, force: true });
    throw error;
  }
}

export class TestCluster implements AsyncDisposable {
  readonly plan: ClusterPlan;
  readonly root: string;

  constructor(plan: ClusterPlan, root: string) {
    this.plan = plan;
    this.root = root;
  }

  async apply(yaml: string): Promise<void> {
    await storeObjects(this.plan.resourceDir, parseObjects(join(import.meta.dirname, 'inline.yaml'), yaml));
  }

  async applyFile(file: string): Promise<void> {
    await storeObjects(this.plan.resourceDir, parseObjects(file, await readFile(file, 'utf8')));
  }

  async remove(yaml: string): Promise<void> {
    await removeObjects(this.plan.resourceDir, parseObjects(join(import.meta.dirname, 'inline.yaml'), yaml));
  }

  async label(namespace: string, labels: Readonly<Record<string, string | undefined>>): Promise<void> {
    await labelObject(this.plan.resourceDir, { apiVersion: 'v1', kind: 'Namespace', name: namespace }, labels);
  }

  async pods(): Promise<readonly Pod[]> {
    return (await clusterPods(this.plan)).pods;
  }

  /** The pod that `text` means, once it is ready. */
  async readyPod(text: string): Promise<Pod> {
    return await eventually(`pod ${text} is ready`, async () => {
      const found = matchPods(await this.pods(), text);
      return found && isReady(found) ? found : undefined;
    });
  }

  /** Runs a command in a pod as `culvert local exec` does. */
  async exec(text: string, ...command: readonly string[]): Promise<RunResult> {
    const pod = await this.readyPod(text);
    const entry = await podEntry(this.plan, pod, command);
    await writeFile(entry.resolvConf, entry.resolvConfText);
    const env = { PATH: `${dirname(process.execPath)}:${SYSTEM_PATH}` };
    return await runAny('nsenter', [...entryArgs(entry)], { env });
  }

  /** Process id of a component (`controller`, `ztunnel/node1`) or of the supervisor. */
  async pidOf(component: string): Promise<number> {
    return await eventually(`${component} runs`, async () => {
      const state = await findState(this.plan.stateDir);
      if (component === 'supervisor') return state?.supervisor.pid;
      return state?.components.find(({ name }) => name === component)?.pid;
    });
  }

  /** What can be seen of this cluster on the machine. */
  async remains(): Promise<readonly string[]> {
    return await remainsOf(this.plan);
  }

  /** `culvert local down`. */
  async down(): Promise<void> {
    await takeDown(this.plan.name, this.root);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
    await rm(this.root, { recursive: true, force: true });
  }
}

/** Polls until `look` answers with something; fails with what was waited for after `limitMs`. */
export async function eventually<T>(what: string, look: () => Promise<T | undefined>, limitMs = 20_000): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** A deployment of one pod that answers HTTP on 8080 with its host name, with a service of its name on port 80. */
export function webServer(name: string, options: { node?: string; replicas?: number; version?: string } = {}): string {
  const { node, replicas = 1, version = 'v1' } = options;
  const selector = node === undefined ? '' : `nodeSelector: {kubernetes.io/hostname: ${node}}`;
  return `
apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}, namespace: shop}
spec:
  replicas: ${replicas}
  template:
    metadata: {labels: {app: ${name}, version: ${version}}}
    spec:
      ${selector}
      serviceAccountName: ${name}
      terminationGracePeriodSeconds: 2
      containers:
        - name: web
          command: [node, web-server.mjs]
          ports: [{containerPort: 8080, name: http}]
          readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1, failureThreshold: 1}
---
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: shop}
spec:
  selector: {app: ${name}}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: ${name}, namespace: shop}
`;
}

export const SHOP = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
`;

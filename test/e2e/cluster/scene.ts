/**
 * Namespaces of one test with everything in them, removed at its end. Names carry the process id, so that suites may run
 * side by side against one cluster.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { type AppOptions, AppPod, accountOf, appPod, serviceOf } from './app-pods.ts';
import { Kubernetes, manifest } from './kubernetes.ts';

const AMBIENT = { 'istio.io/dataplane-mode': 'ambient' };
let scenes = 0;

export interface Scene {
  readonly cluster: Kubernetes;
  /** Two nodes, or twice the same where there is one. */
  readonly nodes: readonly [string, string];
  namespace(role: string, options?: { readonly ambient?: boolean }): Promise<string>;
  /** A pod with an account and a Service of its name; ready and under control when this resolves. */
  pod(options: AppOptions): Promise<AppPod>;
  /** Several at once. */
  pods(...options: readonly AppOptions[]): Promise<readonly AppPod[]>;
  setAmbient(namespace: string, ambient: boolean): Promise<void>;
}

export async function openScene(t: ExecutionContext): Promise<Scene> {
  const cluster = await Kubernetes.open();
  const [first = '', second = first] = await cluster.nodes();
  scenes += 1;
  const prefix = `culvert-e2e-${process.pid}-${scenes}`;
  const namespaces: string[] = [];
  const opened: AppPod[] = [];
  t.teardown(async () => {
    for (const pod of opened) await pod[Symbol.asyncDispose]();
    for (const name of namespaces) await cluster.delete(manifest('v1', 'Namespace', { name }));
  });
  const scene: Scene = {
    cluster,
    nodes: [first, second],
    async namespace(role, { ambient = true } = {}) {
      const name = `${prefix}-${role}`;
      namespaces.push(name);
      await cluster.apply(manifest('v1', 'Namespace', { name, labels: ambient ? AMBIENT : {} }));
      return name;
    },
    async pod(options) {
      const [pod] = await scene.pods(options);
      return pod as AppPod; // one was asked for
    },
    async pods(...options) {
      for (const option of options) {
        const { namespace, name } = option;
        await cluster.apply(accountOf(namespace, name), serviceOf(namespace, name));
        await cluster.apply(appPod({ account: name, ...option }));
      }
      const pods = await Promise.all(options.map(({ namespace, name }) => AppPod.open(cluster, namespace, name)));
      opened.push(...pods);
      return pods;
    },
    async setAmbient(namespace, ambient) {
      const patch = { metadata: { labels: { 'istio.io/dataplane-mode': ambient ? 'ambient' : null } } };
      await cluster.patch(manifest('v1', 'Namespace', { name: namespace }), patch);
    },
  };
  return scene;
}

/** Whether the agent says that the pod is in the mesh. */
export async function isEnrolled({ cluster }: Scene, namespace: string, name: string): Promise<boolean> {
  const pod = await cluster.pod(namespace, name);
  return pod?.metadata.annotations?.['ambient.istio.io/redirection'] === 'enabled';
}

/** Calls until it answers as wanted; the control plane's word takes a moment to reach every tunnel. */
export async function until(condition: () => Promise<boolean>, what: string, deadlineMs = 30_000): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`${what}: not within ${deadlineMs} ms`);
    await delay(50);
  }
}

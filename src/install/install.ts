/**
 * Brings a mesh to a cluster, or to another version: objects are applied group by group, and the next group waits until
 * the one before runs. The control plane comes first, then the agents, then the tunnels: each finds what it needs.
 * What an earlier version had installed and this one does not is removed at the end.
 */
import { MeshError } from '../core/errors.ts';
import type { ApiObject, Applied, Cluster } from './cluster/cluster.ts';
import { nameOf } from './cluster/cluster.ts';
import { INSTALLED_KINDS, kindPath } from './cluster/object-path.ts';
import { type WaitOptions, waitUntilGone, waitUntilReady } from './cluster/wait.ts';
import { namespaceObject, type PlainObject, type RenderOptions, renderObjects } from './manifests/index.ts';

export interface InstallOptions extends WaitOptions {
  readonly namespace: string;
  readonly values: RenderOptions['values'];
  readonly dryRun: boolean;
  /** Wait until everything runs. */
  readonly wait: boolean;
}

export type InstallCounts = Readonly<Record<Applied | 'removed', number>>;

/** Label by which everything that is installed is found again, and its value. */
export const INSTALLED_SELECTOR = 'app.kubernetes.io/part-of=culvert';
const WORKLOADS = new Set(['Deployment', 'DaemonSet']);
const ESTABLISHED_POLL_MS = 200;

/**
 * Rejects with ERR_CONFIG where another mesh is installed, ERR_SYSTEM when the API server refuses something, ERR_TIMEOUT
 * when something does not become ready: the message says why. May be called again at any time.
 */
export async function install(cluster: Cluster, options: InstallOptions): Promise<InstallCounts> {
  const { namespace, progress } = options;
  await refuseOthers(cluster, namespace);
  const space = await cluster.read('v1', 'Namespace', namespace);
  // An installation that was removed a moment ago may still be going.
  if (space?.metadata.deletionTimestamp !== undefined) {
    await waitUntilGone(cluster, [{ ...space, apiVersion: 'v1', kind: 'Namespace' }], options);
  }
  const served = await cluster.served();
  const objects = renderObjects({ ...options, served });
  const counts = { created: 0, changed: 0, unchanged: 0, removed: 0 };
  const apply = async (object: PlainObject): Promise<void> => {
    progress.step(`applying ${nameOf(object)}`);
    counts[await cluster.apply(object, options)] += 1;
  };
  await apply(namespaceObject({ ...options, served }));
  if (options.dryRun && space === undefined) {
    throw new MeshError(
      'ERR_CONFIG',
      `the namespace ${namespace} must exist before a dry run of the server can be made`,
    );
  }
  const definitions = objects.filter(({ kind }) => kind === 'CustomResourceDefinition');
  for (const definition of definitions) if (!(await isIstios(cluster, definition))) await apply(definition);
  if (!options.dryRun) await untilEstablished(cluster, definitions, options);
  let batch: PlainObject[] = [];
  for (const object of objects.filter(({ kind }) => kind !== 'CustomResourceDefinition')) {
    // A program starts only when those it depends on run; accounts and roles of all may come at once.
    if (WORKLOADS.has(object.kind) && batch.length > 0) {
      if (options.wait && !options.dryRun) await waitUntilReady(cluster, batch, options);
      batch = [];
    }
    await apply(object);
    if (WORKLOADS.has(object.kind)) batch.push(object);
  }
  if (options.wait && !options.dryRun) await waitUntilReady(cluster, batch, options);
  counts.removed = await prune(cluster, objects, options);
  return counts;
}

/** Another control plane under our names would fight over every pod. */
async function refuseOthers(cluster: Cluster, namespace: string): Promise<void> {
  for (const [kind, name] of [
    ['Deployment', 'istiod'],
    ['DaemonSet', 'ztunnel'],
    ['DaemonSet', 'istio-cni-node'],
  ] as const) {
    const there = await cluster.read('apps/v1', kind, name, namespace);
    if (there === undefined || there.metadata.labels?.['app.kubernetes.io/part-of'] === 'culvert') continue;
    throw new MeshError(
      'ERR_CONFIG',
      `${nameOf({ ...there, apiVersion: 'apps/v1', kind })} belongs to another mesh; remove that first (istioctl uninstall)`,
    );
  }
}

/** Definitions that Istio installed stay as they are: they know more than ours. */
async function isIstios(cluster: Cluster, definition: PlainObject): Promise<boolean> {
  const there = await cluster.read(definition.apiVersion, definition.kind, definition.metadata.name);
  return there !== undefined && there.metadata.labels?.['app.kubernetes.io/part-of'] !== 'culvert';
}

async function untilEstablished(
  cluster: Cluster,
  definitions: readonly PlainObject[],
  wait: WaitOptions,
): Promise<void> {
  const deadline = wait.clock.monotonicMs() + wait.timeoutMs;
  for (const { apiVersion, kind, metadata } of definitions) {
    for (;;) {
      const there = await cluster.read(apiVersion, kind, metadata.name);
      const { conditions = [] } = (there?.status ?? {}) as { conditions?: { type: string; status: string }[] };
      if (conditions.some(({ type, status }) => type === 'Established' && status === 'True')) break;
      if (wait.clock.monotonicMs() >= deadline) {
        throw new MeshError('ERR_TIMEOUT', `the API server does not serve ${metadata.name} yet`);
      }
      await wait.clock.sleep(ESTABLISHED_POLL_MS, wait.signal);
    }
  }
}

async function prune(
  cluster: Cluster,
  wanted: readonly PlainObject[],
  { namespace, dryRun, progress }: InstallOptions,
): Promise<number> {
  const keep = new Set(wanted.map(nameOf));
  let removed = 0;
  for (const object of await findInstalled(cluster, namespace)) {
    if (keep.has(nameOf(object))) continue;
    progress.note(`${nameOf(object)} is of an earlier version and goes`);
    if (await cluster.remove(object, { dryRun })) removed += 1;
  }
  return removed;
}

/** Everything of an installation besides the namespace and the definitions, in the order of removal. */
export async function findInstalled(cluster: Cluster, namespace: string): Promise<readonly ApiObject[]> {
  const found: ApiObject[] = [];
  for (const path of INSTALLED_KINDS) {
    const query = { labelSelector: INSTALLED_SELECTOR };
    const objects = await cluster.list(path, query, path.namespaced ? namespace : undefined);
    // Cluster-wide names end with the namespace; classes are shared by all.
    const isOwn = ({ metadata: { name } }: ApiObject) =>
      path.namespaced || path.kind === 'GatewayClass' || name.endsWith(`-${namespace}`);
    found.push(...objects.filter(isOwn));
  }
  return found;
}

export const DEFINITIONS = kindPath('apiextensions.k8s.io/v1', 'CustomResourceDefinition');

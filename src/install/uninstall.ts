/**
 * Takes a mesh off a cluster. The agents go first: told that they are removed for good, each releases the pods of its
 * node, takes its plugin and rules away, and ends; only then the tunnels, the control plane and the rights go. So every
 * connection finds somebody until nobody needs anybody.
 */
import { type ApiObject, type Cluster, nameOf } from './cluster/cluster.ts';
import { kindPath } from './cluster/object-path.ts';
import { type WaitOptions, waitUntilGone } from './cluster/wait.ts';
import { DEFINITIONS, findInstalled, INSTALLED_SELECTOR } from './install.ts';
import { AGENT } from './manifests/manifest.ts';

export interface UninstallOptions extends WaitOptions {
  readonly namespace: string;
  readonly dryRun: boolean;
  /** Also the definitions with everybody's policies, the certificate authority, and the namespace. */
  readonly purge: boolean;
}

export interface UninstallResult {
  readonly removed: readonly string[];
  readonly kept: readonly string[];
}

const CONFIG_MAP = kindPath('v1', 'ConfigMap');
const LEASE = kindPath('coordination.k8s.io/v1', 'Lease');
/** What the control plane writes into every namespace. */
const PUBLISHED = ['istio-ca-root-cert', 'istio-ca-crl'];

/** Rejects with ERR_TIMEOUT when the agents do not end: then nothing else was removed. */
export async function uninstall(cluster: Cluster, options: UninstallOptions): Promise<UninstallResult> {
  const { namespace, progress } = options;
  const removed: string[] = [];
  const remove = async (object: ApiObject): Promise<void> => {
    progress.step(`removing ${nameOf(object)}`);
    if (await cluster.remove(object, options)) removed.push(nameOf(object));
  };
  const removeAndWait = async (objects: readonly ApiObject[]): Promise<void> => {
    for (const object of objects) await remove(object);
    if (!options.dryRun) await waitUntilGone(cluster, objects, options);
  };
  const installed = await findInstalled(cluster, namespace);
  const isAgent = ({ kind, metadata }: ApiObject) => kind === 'DaemonSet' && metadata.name === AGENT;
  await removeAndWait(installed.filter(isAgent));
  await removeAndWait(installed.filter((object) => object.kind === 'DaemonSet' && !isAgent(object)));
  const rest = installed.filter(({ kind }) => kind !== 'DaemonSet');
  await removeAndWait(rest.filter(({ kind }) => kind === 'Deployment'));
  for (const object of rest.filter(({ kind }) => kind !== 'Deployment')) await remove(object);
  for (const name of PUBLISHED) {
    for (const object of await cluster.list(CONFIG_MAP, { fieldSelector: `metadata.name=${name}` }))
      await remove(object);
  }
  for (const lease of await cluster.list(LEASE, {}, namespace)) {
    if (lease.metadata.name.startsWith('istio-')) await remove(lease);
  }
  const kept: string[] = [];
  const definitions = await cluster.list(DEFINITIONS, { labelSelector: INSTALLED_SELECTOR });
  const secret = await cluster.read('v1', 'Secret', 'istio-ca-secret', namespace);
  const space = await cluster.read('v1', 'Namespace', namespace);
  const lasting = [
    ...definitions,
    ...(secret ? [{ ...secret, apiVersion: 'v1', kind: 'Secret' }] : []),
    ...(space ? [{ ...space, apiVersion: 'v1', kind: 'Namespace' }] : []),
  ];
  if (options.purge) await removeAndWait(lasting);
  else kept.push(...lasting.map(nameOf));
  return { removed, kept };
}

/**
 * What the acts of the demo work with: a cluster with the book shop and its load, looked at from outside (captures on the
 * link, the applications' own counts) and through the doors a person has (admin pages, metrics, logs).
 */
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Netns } from 'culvert-netns';
import { MeshError } from '../core/errors.ts';
import { systemClock } from '../core/system-clock.ts';
import {
  type ClusterPlan,
  captureLink,
  entryArgs,
  httpRequest,
  isReady,
  type KubeObject,
  labelObject,
  type NodePlan,
  netnsPath,
  type Pod,
  type PodSpec,
  podNetns,
  readManifests,
  removeObjects,
  runAny,
  SYSTEM_PATH,
  storeObjects,
  type TcpPacket,
} from '../local/index.ts';
import { clusterPods, matchPods, podEntry } from './local-pods.ts';

export const SHOP = 'bookinfo';
const EXAMPLES = fileURLToPath(new URL('../../examples/bookinfo/', import.meta.url));
const POLL_MS = 50;
/** Callers on one node, most of what they call on the other, so that the link shows everything. */
const PLACES: Readonly<Record<string, string>> = { shopper: 'node1', productpage: 'node1', ratings: 'node1' };
const OTHER_PLACE = 'node2';

/** The load's own account of how it went. */
export interface LoadStats {
  readonly kept: { readonly ok: number; readonly failed: number; readonly connections: number };
  readonly fresh: { readonly ok: number; readonly failed: number };
  readonly ledger: { readonly ok: number; readonly failed: number; readonly connections: number };
  readonly failures: readonly string[];
}

export class Stage {
  readonly plan: ClusterPlan;

  constructor(plan: ClusterPlan) {
    this.plan = plan;
  }

  /** Applies manifests of the example; its pods are bound to the nodes of the story. */
  async apply(...files: readonly string[]): Promise<void> {
    for (const file of files) {
      const objects = await readManifests(join(EXAMPLES, file));
      await storeObjects(this.plan.resourceDir, objects.map(placed));
    }
  }

  async remove(file: string): Promise<void> {
    await removeObjects(this.plan.resourceDir, await readManifests(join(EXAMPLES, file)));
  }

  /** Sets a label of the shop's namespace, or removes it. */
  async label(key: string, value: string | undefined): Promise<void> {
    await labelObject(this.plan.resourceDir, { apiVersion: 'v1', kind: 'Namespace', name: SHOP }, { [key]: value });
  }

  async pods(): Promise<readonly Pod[]> {
    return (await clusterPods(this.plan)).pods.filter(({ metadata }) => metadata.namespace === SHOP);
  }

  /** Waits until the shop has `count` pods and all are ready. */
  async allReady(count: number): Promise<readonly Pod[]> {
    return await eventually(`${count} pods are ready`, async () => {
      const pods = await this.pods();
      return pods.length === count && pods.every(isReady) ? pods : undefined;
    });
  }

  /** Waits until every pod's redirection is `enabled`, or none has any. */
  async redirection(wanted: 'enabled' | undefined): Promise<number> {
    return await eventually(`redirection is ${wanted ?? 'off'} for all pods`, async () => {
      const pods = await this.pods();
      const states = pods.map(({ metadata }) => metadata.annotations?.['ambient.istio.io/redirection']);
      return states.every((state) => state === wanted) ? pods.length : undefined;
    });
  }

  async getPod(app: string): Promise<Pod> {
    const found = matchPods(await this.pods(), `deploy/${app}`);
    if (!found) throw new MeshError('ERR_NOT_FOUND', `no pod of ${app}`);
    return found;
  }

  getNode(pod: Pod): NodePlan {
    const node = this.plan.nodes.find(({ name }) => name === pod.spec?.nodeName);
    if (!node) throw new MeshError('ERR_NOT_FOUND', `pod ${pod.metadata.name} is on no node`);
    return node;
  }

  /** Runs a command inside a pod of `app`. */
  async exec(app: string, ...command: readonly string[]) {
    const entry = await podEntry(this.plan, await this.getPod(app), command);
    await writeFile(entry.resolvConf, entry.resolvConfText);
    const env = { PATH: `${dirname(process.execPath)}:${SYSTEM_PATH}` };
    return await runAny('nsenter', [...entryArgs(entry)], { env });
  }

  /** One request on a new connection from a pod of `app`: the HTTP status, 0 when there was no answer. */
  async statusOf(app: string, url: string): Promise<number> {
    const { stdout } = await this.exec(app, 'curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '-m', '5', url);
    return Number(stdout);
  }

  /** Asks the load itself, on its loopback. */
  async load(): Promise<LoadStats> {
    const { uid = '' } = (await this.getPod('shopper')).metadata;
    using netns = Netns.open(netnsPath(podNetns(this.plan, uid)));
    const answer = await httpRequest(netns, { ip: '127.0.0.1', port: 9_090 }, '/stats', { timeoutMs: 5_000 });
    return JSON.parse(answer.body) as LoadStats; // written by examples/bookinfo/shopper.ts
  }

  /** What passed between the nodes in `ms`. */
  async capture(ms: number): Promise<readonly TcpPacket[]> {
    return await captureLink(this.plan, async () => await systemClock.sleep(ms));
  }

  /** A page of a node's tunnel: admin on 15000, metrics on 15020. */
  async tunnelPage(node: NodePlan, port: number, path: string): Promise<string> {
    using netns = Netns.open(netnsPath(node.netns));
    return (await httpRequest(netns, { ip: '127.0.0.1', port }, path, { timeoutMs: 5_000 })).body;
  }

  async tunnelLog(node: NodePlan): Promise<string> {
    return await readFile(join(this.plan.logDir, `ztunnel-${node.name}.log`), 'utf8');
  }
}

/** Polls until `look` answers; rejects with ERR_TIMEOUT and what was waited for. */
export async function eventually<T>(what: string, look: () => Promise<T | undefined>, limitMs = 20_000): Promise<T> {
  const deadline = systemClock.monotonicMs() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (systemClock.monotonicMs() > deadline) throw new MeshError('ERR_TIMEOUT', `not within ${limitMs} ms: ${what}`);
    await systemClock.sleep(POLL_MS);
  }
}

function placed(object: KubeObject): KubeObject {
  if (object.kind !== 'Deployment') return object;
  const { spec } = object as KubeObject & { readonly spec: { readonly template: { readonly spec: PodSpec } } };
  const app = object.metadata.labels?.app ?? '';
  const nodeSelector = { 'kubernetes.io/hostname': PLACES[app] ?? OTHER_PLACE };
  const template = { ...spec.template, spec: { ...spec.template.spec, nodeSelector } };
  return { ...object, ...{ spec: { ...spec, template } } };
}

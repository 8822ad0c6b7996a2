/**
 * The cluster of KUBECONFIG as the suites use it: objects of any kind by their usual path, and connections into pods by
 * port-forward, which works wherever `kubectl port-forward` does.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { PassThrough } from 'node:stream';
import { KubeConfig, PortForward } from '@kubernetes/client-node';
import type { ApiClient } from '../../../src/kube/client/api-client.ts';
import { type KubeObject, openTransport } from '../../../src/kube/index.ts';
import { eventually } from '../../support/eventually.ts';
import { openApi } from '../cluster-harness.ts';

export type Manifest = KubeObject & { readonly spec?: unknown; readonly data?: unknown };

export interface PodObject extends KubeObject {
  readonly spec: { readonly nodeName?: string; readonly containers: readonly { readonly name: string }[] };
  readonly status: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
    readonly containerStatuses?: readonly { readonly restartCount: number; readonly ready: boolean }[];
  };
}

const MANAGER = 'culvert-e2e';
/** Images are loaded and pods scheduled on a machine that may be busy. */
export const SLOW_MS = 90_000;

/** Plurals that are not the lower-case kind with an `s`. */
const PLURALS: Readonly<Record<string, string>> = {
  NetworkPolicy: 'networkpolicies',
  AuthorizationPolicy: 'authorizationpolicies',
  ServiceEntry: 'serviceentries',
  WorkloadEntry: 'workloadentries',
};
const CLUSTER_SCOPED = new Set(['Namespace', 'Node', 'ClusterRole', 'ClusterRoleBinding', 'CustomResourceDefinition']);

export class Kubernetes {
  readonly api: ApiClient;
  readonly #config: KubeConfig;

  private constructor(api: ApiClient, config: KubeConfig) {
    this.api = api;
    this.#config = config;
  }

  static async open(): Promise<Kubernetes> {
    const config = new KubeConfig();
    config.loadFromFile(process.env.KUBECONFIG ?? '');
    return new Kubernetes(await openApi(), config);
  }

  /** Server-side apply. Throws with what the API server says. */
  async apply(...objects: readonly Manifest[]): Promise<void> {
    for (const object of objects) {
      const query = { fieldManager: MANAGER, force: 'true' };
      const call = { method: 'PATCH', path: pathOf(object), query, body: object } as const;
      await this.#succeed(
        { ...call, contentType: 'application/apply-patch+yaml' },
        `${object.kind} ${object.metadata.name}`,
      );
    }
  }

  async patch(object: Manifest, patch: object): Promise<void> {
    const call = {
      method: 'PATCH',
      path: pathOf(object),
      body: patch,
      contentType: 'application/merge-patch+json',
    } as const;
    await this.#succeed(call, `${object.kind} ${object.metadata.name}`);
  }

  /** What is not there is fine. Background: dependents go later. */
  async delete(object: Manifest, graceSeconds?: number): Promise<void> {
    const query = graceSeconds === undefined ? {} : { gracePeriodSeconds: String(graceSeconds) };
    const answer = await this.api.callPatiently({ method: 'DELETE', path: pathOf(object), query });
    if (answer.status >= 300 && answer.status !== 404) throw new Error(`delete: ${JSON.stringify(answer.body)}`);
  }

  async get<T extends KubeObject>(object: Manifest): Promise<T | undefined> {
    const answer = await this.api.callPatiently({ method: 'GET', path: pathOf(object) });
    return answer.status === 200 ? (answer.body as T) : undefined;
  }

  async list<T extends KubeObject>(path: string, labelSelector = ''): Promise<readonly T[]> {
    const query = labelSelector === '' ? {} : { labelSelector };
    const answer = await this.api.callPatiently({ method: 'GET', path, query });
    if (answer.status !== 200) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
    return (answer.body as { items: readonly T[] }).items;
  }

  /** As a drain does. */
  async evict(namespace: string, name: string): Promise<void> {
    const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } };
    const path = `/api/v1/namespaces/${namespace}/pods/${name}/eviction`;
    await this.#succeed({ method: 'POST', path, body, contentType: 'application/json' }, `eviction of ${name}`);
  }

  pods(namespace: string, labelSelector = ''): Promise<readonly PodObject[]> {
    return this.list<PodObject>(`/api/v1/namespaces/${namespace}/pods`, labelSelector);
  }

  pod(namespace: string, name: string): Promise<PodObject | undefined> {
    return this.get<PodObject>(manifest('v1', 'Pod', { namespace, name }));
  }

  /** The pod, ready. Rejects with what its conditions say. */
  async ready(namespace: string, name: string, deadlineMs = SLOW_MS): Promise<PodObject> {
    let pod: PodObject | undefined;
    try {
      await eventually(
        async () => {
          pod = await this.pod(namespace, name);
          return pod !== undefined && isReady(pod);
        },
        `pod ${namespace}/${name} ready`,
        deadlineMs,
      );
    } catch (cause) {
      throw new Error(`pod ${namespace}/${name}: ${JSON.stringify(pod?.status.conditions ?? 'not there')}`, { cause });
    }
    return pod as PodObject; // eventually() has seen it
  }

  /** Names of nodes that take pods. */
  async nodes(): Promise<readonly string[]> {
    const nodes = await this.list<KubeObject & { spec: { unschedulable?: boolean } }>('/api/v1/nodes');
    return nodes
      .filter(({ spec }) => !spec.unschedulable)
      .map(({ metadata }) => metadata.name)
      .sort();
  }

  async logs(namespace: string, pod: string, sinceSeconds = 600): Promise<string> {
    const transport = await openTransport({ kind: 'kubeconfig', file: process.env.KUBECONFIG ?? '' });
    const path = `/api/v1/namespaces/${namespace}/pods/${pod}/log`;
    const query = { sinceSeconds: String(sinceSeconds) };
    const { statusCode, body } = await transport({ method: 'GET', path, query, silenceMs: 30_000 });
    const text = await body.text();
    if (statusCode !== 200) throw new Error(`logs of ${namespace}/${pod}: ${text}`);
    return text;
  }

  /** A local port whose connections end in the pod, on its loopback. */
  async forward(namespace: string, pod: string, port: number): Promise<{ readonly port: number } & AsyncDisposable> {
    const forward = new PortForward(this.#config);
    const sockets = new Set<{ close(): void }>();
    const server = createServer((socket) => {
      socket.on('error', () => {});
      const errors = new PassThrough().resume();
      forward
        .portForward(namespace, pod, [port], socket, errors, socket)
        .then((opened) => {
          const webSocket = typeof opened === 'function' ? opened() : opened;
          if (webSocket === null) return;
          sockets.add(webSocket);
          webSocket.onclose = () => socket.destroy();
          socket.on('close', () => webSocket.close());
        })
        .catch(() => socket.destroy());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
      port: (server.address() as AddressInfo).port,
      async [Symbol.asyncDispose]() {
        for (const webSocket of sockets) webSocket.close();
        server.close();
      },
    };
  }

  async #succeed(call: Parameters<ApiClient['callPatiently']>[0], what: string): Promise<void> {
    const answer = await this.api.callPatiently(call);
    if (answer.status >= 300) throw new Error(`${what}: ${JSON.stringify(answer.body)}`);
  }
}

export function manifest(
  apiVersion: string,
  kind: string,
  metadata: KubeObject['metadata'],
  rest: object = {},
): Manifest {
  return { apiVersion, kind, metadata, ...rest };
}

export function isReady({ status }: PodObject): boolean {
  return status.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') === true;
}

function pathOf({ apiVersion, kind, metadata }: KubeObject): string {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const plural = PLURALS[kind] ?? `${kind.toLowerCase()}s`;
  const place = CLUSTER_SCOPED.has(kind) ? '' : `/namespaces/${metadata.namespace ?? 'default'}`;
  return `${root}${place}/${plural}/${metadata.name}`;
}

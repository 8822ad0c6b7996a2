/** Pods of the suites' own image: how they are made, and what they are told to do. */
import { parsePcap, type TcpPacket } from '../../../src/local/pcap.ts';
import { eventually } from '../../support/eventually.ts';
import type { HoldSummary } from '../app/held-connections.ts';
import type { LoadSummary } from '../app/load.ts';
import type { FetchResult } from '../app/request.ts';
import { type Kubernetes, type Manifest, manifest, type PodObject, SLOW_MS } from './kubernetes.ts';

export const APP_IMAGE = process.env.E2E_APP_IMAGE || 'docker.io/culvert/e2e-app:0.1.0';
const CONTROL_PORT = 15_999;

export interface AppOptions {
  readonly namespace: string;
  readonly name: string;
  readonly node?: string | undefined;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly account?: string;
  readonly spec?: object;
  /** Fields of the container. */
  readonly container?: object;
}

/** Ready as soon as it serves, by a probe of the kubelet. */
export function appPod(options: AppOptions): Manifest {
  const { namespace, name, labels = {}, annotations = {} } = options;
  return manifest(
    'v1',
    'Pod',
    { namespace, name, labels: { app: name, ...labels }, annotations },
    { spec: appPodSpec(options) },
  );
}

export function appPodSpec({ node, env = {}, account, spec = {}, container = {} }: AppOptions): object {
  return {
    ...(node === undefined ? {} : { nodeSelector: { 'kubernetes.io/hostname': node } }),
    ...(account === undefined ? {} : { serviceAccountName: account }),
    terminationGracePeriodSeconds: 15,
    automountServiceAccountToken: false,
    containers: [
      {
        name: 'app',
        image: APP_IMAGE,
        imagePullPolicy: 'IfNotPresent',
        env: Object.entries(env).map(([key, value]) => ({ name: key, value })),
        readinessProbe: { httpGet: { path: '/ready', port: 8_080 }, periodSeconds: 1, timeoutSeconds: 5 },
        ...container,
      },
    ],
    ...spec,
  };
}

export function accountOf(namespace: string, name: string): Manifest {
  return manifest('v1', 'ServiceAccount', { namespace, name });
}

export function serviceOf(namespace: string, name: string, spec: object = {}): Manifest {
  const ports = [
    { name: 'http', port: 80, targetPort: 8_080 },
    { name: 'http-other', port: 81, targetPort: 8_081 },
    { name: 'tcp', port: 90, targetPort: 9_090 },
  ];
  return manifest('v1', 'Service', { namespace, name }, { spec: { selector: { app: name }, ports, ...spec } });
}

/** What the server says of a request. */
export interface AppAnswer {
  readonly pod: string;
  readonly remote: string;
  readonly port: number;
  readonly at: number;
}

/** One running pod under control. Dispose ends the connection, not the pod. */
export class AppPod implements AsyncDisposable {
  readonly pod: PodObject;
  readonly #url: string;
  readonly #forward: AsyncDisposable;

  private constructor(pod: PodObject, port: number, forward: AsyncDisposable) {
    this.pod = pod;
    this.#url = `http://127.0.0.1:${port}`;
    this.#forward = forward;
  }

  /** Waits until the pod is ready. */
  static async open(cluster: Kubernetes, namespace: string, name: string): Promise<AppPod> {
    const pod = await cluster.ready(namespace, name);
    const forward = await cluster.forward(namespace, name, CONTROL_PORT);
    const opened = new AppPod(pod, forward.port, forward);
    // A pod without a probe counts as ready before it listens.
    const listens = () =>
      opened.#ask('look', { id: '' }).then(
        () => true,
        () => false,
      );
    await eventually(listens, `${namespace}/${name} listens`, SLOW_MS);
    return opened;
  }

  get ip(): string {
    return this.pod.status.podIP ?? '';
  }

  get ips(): readonly string[] {
    return (this.pod.status.podIPs ?? []).map(({ ip }) => ip);
  }

  get node(): string {
    return this.pod.spec.nodeName ?? '';
  }

  fetch(url: string, { count = 1, timeoutMs = 5_000 } = {}): Promise<readonly FetchResult[]> {
    return this.#ask('fetch', { request: { url, timeoutMs }, count });
  }

  /** The answer of one request, undefined when there was none. */
  async call(url: string, timeoutMs = 5_000): Promise<AppAnswer | undefined> {
    const [result] = await this.fetch(url, { timeoutMs });
    return result?.status === 200 ? (JSON.parse(result.body) as AppAnswer) : undefined;
  }

  resolve(name: string): Promise<readonly string[] | { readonly error: string }> {
    return this.#ask('resolve', { name });
  }

  /** Files of the pod below `folder` that match by name or, if they are lists of a network, by content. */
  find(folder: string, pattern: string): Promise<string[]> {
    return this.#ask('find', { folder, pattern });
  }

  async load(id: string, url: string, { perSecond = 25, timeoutMs = 5_000 } = {}): Promise<Background<LoadSummary>> {
    await this.#ask('load', { id, url, perSecond, timeoutMs });
    return this.#background(id);
  }

  async hold(
    id: string,
    host: string,
    { port = 9_090, count = 10, intervalMs = 100 } = {},
  ): Promise<Background<HoldSummary>> {
    await this.#ask('hold', { id, host, port, count, intervalMs });
    return this.#background(id);
  }

  /** Only in a pod that may capture, on its uplink or on every device; `filter` is tcpdump's. */
  async capture(id: string, filter: string, everywhere = false): Promise<{ stop(): Promise<readonly TcpPacket[]> }> {
    await this.#ask('capture', { id, filter, everywhere });
    return {
      stop: async () => {
        const { pcap, truncated } = await this.#ask<{ pcap: string; truncated: boolean }>('stop', { id });
        if (truncated) throw new Error('the capture is longer than what is kept');
        return parsePcap(Buffer.from(pcap, 'base64'));
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#forward[Symbol.asyncDispose]();
  }

  #background<T>(id: string): Background<T> {
    return { look: () => this.#ask('look', { id }), stop: () => this.#ask('stop', { id }) };
  }

  async #ask<T>(action: string, body: object): Promise<T> {
    const signal = AbortSignal.timeout(120_000);
    try {
      const answer = await fetch(`${this.#url}/${action}`, { method: 'POST', body: JSON.stringify(body), signal });
      const text = await answer.text();
      if (!answer.ok) throw new Error(text);
      return JSON.parse(text) as T;
    } catch (cause) {
      const { namespace, name } = this.pod.metadata;
      throw new Error(`${action} in ${namespace}/${name}: ${String((cause as Error).cause ?? cause)}`, { cause });
    }
  }
}

export interface Background<T> {
  look(): Promise<T>;
  stop(): Promise<T>;
}

/** A Deployment of the image with an account and a Service of its name. */
export function appDeployment(options: AppOptions & { readonly replicas: number }): readonly Manifest[] {
  const { namespace, name, replicas, labels = {} } = options;
  const strategy = { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } };
  const template = { metadata: { labels: { app: name, ...labels } }, spec: appPodSpec({ account: name, ...options }) };
  const spec = { replicas, strategy, selector: { matchLabels: { app: name } }, template };
  return [
    accountOf(namespace, name),
    serviceOf(namespace, name),
    manifest('apps/v1', 'Deployment', { namespace, name }, { spec }),
  ];
}

/** Makes one call to `target` and ends, well when it was answered. */
export function visitorSpec(target: string, options: Partial<AppOptions> = {}): object {
  return appPodSpec({
    ...{ namespace: '', name: '', ...options },
    env: { ROLE: 'visitor', TARGET: target },
    container: { readinessProbe: undefined },
    spec: { restartPolicy: 'Never', terminationGracePeriodSeconds: 0, ...options.spec },
  });
}

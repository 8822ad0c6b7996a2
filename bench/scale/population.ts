/** Nodes, services and pods that nobody runs, in an API server. */
import { readFile } from 'node:fs/promises';
import { Agent, request } from 'undici';
import { parse } from 'yaml';

export interface PopulationSize {
  readonly nodes: number;
  readonly pods: number;
  readonly services: number;
}

const NAMESPACES = 20;
const MERGE_PATCH = 'application/merge-patch+json';

export class Population {
  readonly size: PopulationSize;
  readonly #server: string;
  readonly #token: string;
  readonly #agent: Agent;

  private constructor(size: PopulationSize, server: string, token: string, roots: string) {
    this.size = size;
    this.#server = server;
    this.#token = token;
    this.#agent = new Agent({ connections: 32, connect: { ca: roots } });
  }

  static async open(kubeconfig: string, size: PopulationSize): Promise<Population> {
    const { clusters, users } = parse(await readFile(kubeconfig, 'utf8')) as {
      readonly clusters: readonly [{ readonly cluster: Readonly<Record<string, string>> }];
      readonly users: readonly [{ readonly user: Readonly<Record<string, string>> }];
    };
    const { server = '', 'certificate-authority': file, 'certificate-authority-data': data = '' } = clusters[0].cluster;
    const roots = file ? await readFile(file, 'utf8') : Buffer.from(data, 'base64').toString('utf8');
    return new Population(size, server, users[0].user.token ?? '', roots);
  }

  async fill(): Promise<void> {
    for (let i = 0; i < NAMESPACES; i += 1) {
      const labels = { 'istio.io/dataplane-mode': 'ambient' };
      await this.call('POST', '/api/v1/namespaces', { metadata: { name: `scale-${i}`, labels } });
    }
    const { nodes, services, pods } = this.size;
    await each(nodes, 16, (i) =>
      this.call('POST', '/api/v1/nodes', {
        metadata: { name: `fake-${i}`, labels: { 'topology.kubernetes.io/zone': `z${i % 3}` } },
        spec: { unschedulable: true },
      }),
    );
    await each(services, 16, (i) =>
      this.call('POST', `/api/v1/namespaces/${namespaceOf(i)}/services`, {
        metadata: { name: `svc-${i}` },
        spec: { selector: { app: `svc-${i}` }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
      }),
    );
    await each(pods, 32, (i) => this.makePod(i, `p-${i}`));
  }

  /** Makes a pod that is ready. Resolves with the time at which the API server had it so, and its resource name. */
  async makePod(index: number, name: string): Promise<{ readonly atMs: number; readonly uid: string }> {
    const { services, nodes } = this.size;
    const namespace = namespaceOf(index % services);
    const annotations = { 'ambient.istio.io/redirection': 'enabled' };
    await this.call('POST', `/api/v1/namespaces/${namespace}/pods`, {
      metadata: { name, labels: { app: `svc-${index % services}` }, annotations },
      spec: {
        ...{ nodeName: `fake-${index % nodes}`, automountServiceAccountToken: false },
        containers: [{ name: 'c', image: 'none', ports: [{ containerPort: 8080 }] }],
      },
    });
    const now = new Date().toISOString();
    const podIP = `10.${100 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
    const conditions = [{ type: 'Ready', status: 'True', lastTransitionTime: now }];
    const status = {
      phase: 'Running',
      podIP,
      podIPs: [{ ip: podIP }],
      hostIP: '172.31.0.1',
      startTime: now,
      conditions,
    };
    await this.call('PATCH', `/api/v1/namespaces/${namespace}/pods/${name}/status`, { status }, MERGE_PATCH);
    return { atMs: performance.now(), uid: `Kubernetes//Pod/${namespace}/${name}` };
  }

  /** Resolves with the time at which the API server no longer had it. */
  async removePod(index: number, name: string): Promise<{ readonly atMs: number; readonly uid: string }> {
    const namespace = namespaceOf(index % this.size.services);
    await this.call('DELETE', `/api/v1/namespaces/${namespace}/pods/${name}?gracePeriodSeconds=0`);
    return { atMs: performance.now(), uid: `Kubernetes//Pod/${namespace}/${name}` };
  }

  async call(method: string, path: string, body?: unknown, type = 'application/json'): Promise<unknown> {
    const answer = await request(this.#server + path, {
      ...{ method, dispatcher: this.#agent },
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': type },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.body.text();
    if (answer.statusCode < 300 || answer.statusCode === 409) return JSON.parse(text);
    throw new Error(`${method} ${path}: ${answer.statusCode} ${text.slice(0, 200)}`);
  }
}

function namespaceOf(service: number): string {
  return `scale-${service % NAMESPACES}`;
}

async function each(count: number, width: number, make: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const work = async () => {
    while (next < count) {
      next += 1;
      await make(next - 1);
    }
  };
  await Promise.all(Array.from({ length: width }, work));
}

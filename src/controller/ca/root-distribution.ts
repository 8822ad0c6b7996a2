/**
 * Makes the root certificates known: a file for programs beside the control plane, and in every namespace the ConfigMap
 * `istio-ca-root-cert` (key `root-cert.pem`), and `istio-ca-crl` (key `ca-crl.pem`) where there are revocation lists.
 * The replica that leads writes; what somebody changes or removes comes back. Source: Istio control plane.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { Informer, KubeObject, KubeSource } from '../../kube/index.ts';
import type { Leadership } from '../leader/leader-election.ts';
import type { ControlPlaneAuthority } from './control-plane-authority.ts';

export interface RootDistributionDeps {
  readonly source: KubeSource;
  readonly authority: Pick<ControlPlaneAuthority, 'rootsPem' | 'crlPem'>;
  readonly apply: (object: KubeObject) => Promise<void>;
  readonly leadership: Leadership;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Published {
  readonly name: string;
  readonly key: string;
  readonly configMaps: Informer<KubeObject>;
  /** Undefined: nothing to publish; what is there stays. */
  readonly text: () => string | undefined;
}

const CONFIG_MAP = { group: '', kind: 'ConfigMap' };
const RETRY_MS = 5_000;

/** Replaces the file whole, and only when it says something else. */
export async function writeRootFile(path: string, rootsPem: string): Promise<void> {
  const before = await readFile(path, 'utf8').catch(() => undefined);
  if (before === rootsPem) return;
  await writeFile(`${path}.new`, rootsPem, { mode: 0o644 });
  await rename(`${path}.new`, path);
}

export class RootDistribution implements AsyncDisposable {
  readonly #deps: RootDistributionDeps;
  readonly #namespaces: Informer<KubeObject>;
  readonly #published: readonly Published[];
  readonly #subscriptions: Disposable[] = [];
  readonly #stop = new AbortController();
  #running = Promise.resolve();
  #scheduled = false;

  private constructor(deps: RootDistributionDeps) {
    this.#deps = deps;
    const { source, authority } = deps;
    this.#namespaces = source.informer({ group: '', kind: 'Namespace' });
    const published = (name: string, key: string, text: () => string | undefined): Published => ({
      ...{ name, key, text },
      configMaps: source.informer(CONFIG_MAP, { name }),
    });
    this.#published = [
      published('istio-ca-root-cert', 'root-cert.pem', () => authority.rootsPem),
      published('istio-ca-crl', 'ca-crl.pem', () => authority.crlPem),
    ];
  }

  /** Resolves when it is known what is published; writing goes on until disposed. */
  static async start(deps: RootDistributionDeps): Promise<RootDistribution> {
    const distribution = new RootDistribution(deps);
    await distribution.#start();
    return distribution;
  }

  /** Looks at everything again, soon: the roots may be others. */
  publish(): void {
    if (this.#scheduled || this.#stop.signal.aborted) return;
    this.#scheduled = true;
    this.#running = this.#running.then(async () => {
      await new Promise(setImmediate); // one pass for a burst of changes
      this.#scheduled = false;
      if (await this.#publishAll()) return;
      this.#deps.clock.sleep(RETRY_MS, this.#stop.signal).then(
        () => this.publish(),
        () => undefined, // rejects at the end
      );
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]();
    await this.#running;
  }

  async #start(): Promise<void> {
    const informers = [this.#namespaces, ...this.#published.map(({ configMaps }) => configMaps)];
    await Promise.all(informers.map(({ synced }) => synced));
    const publish = () => this.publish();
    this.#subscriptions.push(...informers.map((informer) => informer.subscribe(publish)));
    this.#subscriptions.push(this.#deps.leadership.subscribe(publish));
  }

  /** Answers false when a namespace failed. */
  async #publishAll(): Promise<boolean> {
    const { leadership, log } = this.#deps;
    let complete = true;
    for (const { metadata } of this.#namespaces.list()) {
      if (metadata.deletionTimestamp !== undefined) continue;
      for (const published of this.#published) {
        if (!leadership.leading || this.#stop.signal.aborted) return true;
        try {
          await this.#publishOne(published, metadata.name);
        } catch (error) {
          complete = false;
          const { name } = published;
          log.warn('root certificates not published', { namespace: metadata.name, name, error: errorMessage(error) });
        }
      }
    }
    return complete;
  }

  async #publishOne({ name, key, configMaps, text }: Published, namespace: string): Promise<void> {
    const wanted = text();
    const present = configMaps.get({ namespace, name }) as { data?: Record<string, string> } | undefined;
    if (wanted === undefined || present?.data?.[key] === wanted) return;
    const metadata = { name, namespace, labels: { 'istio.io/config': 'true' } };
    await this.#deps.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { [key]: wanted } } as KubeObject);
  }
}

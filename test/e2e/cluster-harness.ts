/**
 * A part of a real cluster as an empty provider: namespaces of the test are namespaces of its own in the cluster, and
 * nothing else of the cluster is seen.
 */
import { silentLogger } from '../../src/core/logger.ts';
import { systemClock } from '../../src/core/system-clock.ts';
import {
  ApiClient,
  ClientSource,
  ClientWriter,
  type GroupKind,
  type Informer,
  type KubeObject,
  type KubeSource,
  type KubeWriter,
  openTransport,
} from '../../src/kube/index.ts';
import type { NamespacedName } from '../../src/model/address.ts';
import type { ProviderHarness } from '../kube/provider-compliance.ts';

let opened = 0;

/** The client that KUBECONFIG leads to. */
export async function openApi(): Promise<ApiClient> {
  const file = process.env.KUBECONFIG;
  if (!file) throw new Error('KUBECONFIG is not set');
  return new ApiClient(await openTransport({ kind: 'kubeconfig', file }));
}

export async function openClusterHarness(): Promise<ProviderHarness> {
  const api = await openApi();
  opened += 1;
  const names = new Names(`culvert-e2e-${process.pid}-${opened}-`);
  const source = new ClientSource({ api, clock: systemClock, log: silentLogger });
  const person = new ClientWriter({ api, manager: 'e2e' });
  const made = new Set<string>();
  const ensureNamespace = async (name: string) => {
    if (made.has(name)) return;
    made.add(name);
    await person.applyObject({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
    await person.applyObject({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'default', namespace: name },
    });
  };
  return {
    source: new ScopedSource(source, names),
    writer: (manager) => new ScopedWriter(new ClientWriter({ api, manager }), names),
    async apply(object) {
      const inside = names.inside(object);
      await ensureNamespace(inside.metadata.namespace ?? inside.metadata.name);
      if (object.kind !== 'Namespace') await person.applyObject(inside.kind === 'Pod' ? withContainer(inside) : inside);
    },
    async delete(object) {
      const { namespace, name } = names.inside(object).metadata;
      const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
      await api.callPatiently({ method: 'DELETE', path, query: { gracePeriodSeconds: '0' } });
    },
    async [Symbol.asyncDispose]() {
      await source[Symbol.asyncDispose]();
      for (const name of made) await api.callPatiently({ method: 'DELETE', path: `/api/v1/namespaces/${name}` });
    },
  };
}

class Names {
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  key({ namespace, name }: NamespacedName): NamespacedName {
    return namespace === '' ? { namespace, name: this.#prefix + name } : { namespace: this.#prefix + namespace, name };
  }

  inside(object: KubeObject): KubeObject {
    const { namespace = '', name } = object.metadata;
    const key = this.key({ namespace, name });
    return { ...object, metadata: { ...object.metadata, ...(namespace === '' ? {} : key), name: key.name } };
  }

  /** Undefined for what is not of this test. */
  outside({ namespace, name }: NamespacedName): NamespacedName | undefined {
    const prefix = this.#prefix;
    if (namespace !== '')
      return namespace.startsWith(prefix) ? { namespace: namespace.slice(prefix.length), name } : undefined;
    return name.startsWith(prefix) ? { namespace, name: name.slice(prefix.length) } : undefined;
  }
}

class ScopedSource implements KubeSource {
  readonly #source: KubeSource;
  readonly #names: Names;
  readonly #scoped = new Map<Informer<KubeObject>, Informer<KubeObject>>();

  constructor(source: KubeSource, names: Names) {
    this.#source = source;
    this.#names = names;
  }

  informer<T extends KubeObject>(kind: GroupKind, options = {}): Informer<T> {
    const real = this.#source.informer(kind, options);
    const scoped = this.#scoped.get(real) ?? this.#scope(real);
    this.#scoped.set(real, scoped);
    return scoped as Informer<T>;
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #scope(real: Informer<KubeObject>): Informer<KubeObject> {
    const names = this.#names;
    const outside = (object: KubeObject): readonly KubeObject[] => {
      const { namespace = '', name } = object.metadata;
      const key = names.outside({ namespace, name });
      if (!key) return [];
      return [{ ...object, metadata: { ...object.metadata, ...(namespace === '' ? {} : key), name: key.name } }];
    };
    return {
      synced: real.synced,
      list: (namespace) =>
        real.list(namespace === undefined ? undefined : names.key({ namespace, name: '' }).namespace).flatMap(outside),
      get: (key) => [real.get(names.key(key))].flatMap((object) => (object ? outside(object) : []))[0],
      refused: () =>
        real.refused().flatMap(({ object, reason }) => outside(object).map((own) => ({ object: own, reason }))),
      subscribe: (listener) =>
        real.subscribe((key) => {
          const own = names.outside(key);
          if (own) listener(own);
        }),
    };
  }
}

class ScopedWriter implements KubeWriter {
  readonly #writer: KubeWriter;
  readonly #names: Names;

  constructor(writer: KubeWriter, names: Names) {
    this.#writer = writer;
    this.#names = names;
  }

  patchStatus(...[kind, key, patch]: Parameters<KubeWriter['patchStatus']>): Promise<void> {
    return this.#writer.patchStatus(kind, this.#names.key(key), patch);
  }

  patchAnnotations(...[kind, key, patch]: Parameters<KubeWriter['patchAnnotations']>): Promise<void> {
    return this.#writer.patchAnnotations(kind, this.#names.key(key), patch);
  }
}

/** An API server wants a pod to have a container. */
function withContainer(pod: KubeObject & { readonly spec?: object }): KubeObject {
  const containers = [{ name: 'app', image: 'example.invalid/app' }];
  return { ...pod, spec: { ...pod.spec, containers } } as KubeObject;
}

/** The view of one kind over the object store, perhaps only of one node's objects or of one name. */
import type { NamespacedName } from '../../model/address.ts';
import type { Informer, KubeObject, RefusedObject, WatchOptions } from '../port.ts';
import { type KindKey, keyText, type ObjectKey } from './object-key.ts';
import type { ObjectStore } from './object-store.ts';

type Listener = (key: NamespacedName) => void;

export class FileInformer implements Informer<KubeObject> {
  /** The store is complete before anybody can ask for an informer. */
  readonly synced: Promise<void> = Promise.resolve();
  readonly #kind: KindKey;
  readonly #store: ObjectStore;
  readonly #options: WatchOptions;
  readonly #listeners = new Set<Listener>();
  readonly #present = new Set<string>();
  #cached: readonly KubeObject[] | undefined;

  constructor(kind: KindKey, store: ObjectStore, options: WatchOptions) {
    this.#kind = kind;
    this.#store = store;
    this.#options = options;
    for (const [text, object] of store.objects(kind)) if (this.#matches(object)) this.#present.add(text);
    for (const [text, { object }] of store.refused(kind)) if (this.#matches(object)) this.#present.add(text);
  }

  list(namespace?: string): readonly KubeObject[] {
    this.#cached ??= [...this.#store.objects(this.#kind).values()].filter((object) => this.#matches(object));
    if (namespace === undefined) return this.#cached;
    return this.#cached.filter((object) => object.metadata.namespace === namespace);
  }

  get({ namespace, name }: NamespacedName): KubeObject | undefined {
    const object = this.#store.find({ kind: this.#kind, namespace, name });
    return object && this.#matches(object) ? object : undefined;
  }

  refused(): readonly RefusedObject[] {
    return [...this.#store.refused(this.#kind).values()].filter(({ object }) => this.#matches(object));
  }

  subscribe(listener: Listener): Disposable {
    this.#listeners.add(listener);
    const present = [...this.list(), ...this.refused().map(({ object }) => object)];
    for (const { metadata } of present) listener({ namespace: metadata.namespace ?? '', name: metadata.name });
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Tells the listeners about those of `keys` that are or were in this view. */
  notify(keys: readonly ObjectKey[], onError: (error: unknown) => void): void {
    const told = keys.filter((key) => key.kind === this.#kind && this.#concerns(key));
    if (told.length === 0) return;
    this.#cached = undefined;
    for (const listener of [...this.#listeners]) {
      for (const { namespace, name } of told) {
        try {
          listener({ namespace, name });
        } catch (error) {
          onError(error);
        }
      }
    }
  }

  #concerns(key: ObjectKey): boolean {
    const text = keyText(key);
    const refused = this.#store.refused(this.#kind).get(text);
    if (this.get(key) || (refused && this.#matches(refused.object))) {
      this.#present.add(text);
      return true;
    }
    return this.#present.delete(text);
  }

  #matches(object: KubeObject): boolean {
    const { nodeName, name } = this.#options;
    if (name !== undefined && object.metadata.name !== name) return false;
    return nodeName === undefined || (object as { spec?: { nodeName?: unknown } }).spec?.nodeName === nodeName;
  }
}

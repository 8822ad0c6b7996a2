/** The objects of one kind as they are now, and who wants to hear about them. */
import { isDeepStrictEqual } from 'node:util';
import { errorMessage } from '../../core/errors.ts';
import type { NamespacedName } from '../../model/address.ts';
import type { ObjectCheck } from '../file/manifest.ts';
import type { KubeObject, ObjectMeta, RefusedObject } from '../port.ts';
import { strippedObject } from './stripped-object.ts';

type Listener = (key: NamespacedName) => void;

export interface ObjectSetOptions {
  /** What is wrong with an object; a refused one keeps its last good version. */
  readonly check: ObjectCheck;
  /** Told why an object was refused, and undefined when it is fine or gone. */
  readonly onChecked: (key: NamespacedName, refused: string | undefined) => void;
  readonly onListenerError: (reason: string) => void;
}

export class ObjectSet {
  readonly #options: ObjectSetOptions;
  readonly #objects = new Map<string, KubeObject>();
  readonly #refused = new Set<string>();
  /** Those of them that have no good version. */
  readonly #unknown = new Map<string, RefusedObject>();
  readonly #listeners = new Set<Listener>();
  #listed: readonly KubeObject[] | undefined;

  constructor(options: ObjectSetOptions) {
    this.#options = options;
  }

  list(namespace?: string): readonly KubeObject[] {
    this.#listed ??= [...this.#objects.values()];
    return namespace === undefined
      ? this.#listed
      : this.#listed.filter(({ metadata }) => metadata.namespace === namespace);
  }

  get(key: NamespacedName): KubeObject | undefined {
    return this.#objects.get(textOf(key));
  }

  refused(): readonly RefusedObject[] {
    return [...this.#unknown.values()];
  }

  subscribe(listener: Listener): Disposable {
    this.#listeners.add(listener);
    const present = [...this.list(), ...this.refused().map(({ object }) => object)];
    for (const { metadata } of present) listener(keyOf(metadata));
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  set(object: KubeObject): void {
    if (this.#put(object)) this.#tell([keyOf(object.metadata)]);
  }

  delete(metadata: ObjectMeta): void {
    if (this.#remove(keyOf(metadata))) this.#tell([keyOf(metadata)]);
  }

  /** A new listing: listeners hear of what differs. */
  replace(objects: readonly KubeObject[]): void {
    const here = new Set(objects.map(({ metadata }) => textOf(keyOf(metadata))));
    const gone = [...this.list(), ...this.refused().map(({ object }) => object)]
      .map(({ metadata }) => keyOf(metadata))
      .filter((key) => !here.has(textOf(key)));
    const changed = [
      ...gone.filter((key) => this.#remove(key)),
      ...objects.filter((object) => this.#put(object)).map(({ metadata }) => keyOf(metadata)),
    ];
    for (const text of this.#refused) if (!here.has(text)) this.#accept(text);
    this.#tell(changed);
  }

  #put(object: KubeObject): boolean {
    const key = keyOf(object.metadata);
    const text = textOf(key);
    const before = this.#objects.get(text);
    const { resourceVersion, uid } = object.metadata;
    const known = before ?? this.#unknown.get(text)?.object;
    if (known && resourceVersion !== undefined && known.metadata.resourceVersion === resourceVersion) return false;
    const stripped = strippedObject(object);
    const [fault] = this.#options.check(stripped);
    if (fault) {
      this.#refused.add(text);
      const reason = `${fault.path.join('.')}: ${fault.reason}`;
      this.#options.onChecked(key, reason);
      // The last good version of another object is nobody's.
      if (before && before.metadata.uid === uid) return false;
      this.#objects.delete(text);
      this.#unknown.set(text, { object: stripped, reason });
      return true;
    }
    this.#accept(text);
    this.#unknown.delete(text);
    // Most changes of pods and nodes are of what nobody reads here: they are none.
    if (before && isDeepStrictEqual(withoutVersion(before), withoutVersion(stripped))) return false;
    this.#objects.set(text, stripped);
    return true;
  }

  #remove(key: NamespacedName): boolean {
    this.#accept(textOf(key));
    const wasUnknown = this.#unknown.delete(textOf(key));
    return this.#objects.delete(textOf(key)) || wasUnknown;
  }

  #accept(text: string): void {
    if (!this.#refused.delete(text)) return;
    const slash = text.indexOf('/');
    this.#options.onChecked({ namespace: text.slice(0, slash), name: text.slice(slash + 1) }, undefined);
  }

  #tell(keys: readonly NamespacedName[]): void {
    if (keys.length === 0) return;
    this.#listed = undefined;
    for (const listener of [...this.#listeners]) {
      for (const key of keys) {
        try {
          listener(key);
        } catch (error) {
          this.#options.onListenerError(errorMessage(error));
        }
      }
    }
  }
}

function withoutVersion({ metadata: { resourceVersion: _version, ...metadata }, ...object }: KubeObject): unknown {
  return { ...object, metadata };
}

function keyOf({ namespace, name }: ObjectMeta): NamespacedName {
  return { namespace: namespace ?? '', name };
}

function textOf({ namespace, name }: NamespacedName): string {
  return `${namespace}/${name}`;
}

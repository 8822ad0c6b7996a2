/**
 * The watch port: Kubernetes objects as levels, whoever provides them (API server, directory of YAML).
 *
 * Invariants
 *  - A listener is told names, never what happened; it reads the present state.
 *  - After `synced` the listing is complete once; it may be newer, never partly older.
 *  - Writers change only what they own: status or annotations of an object, under their field manager's name.
 */
import type { NamespacedName } from '../model/address.ts';

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly generateName?: string;
  readonly ownerReferences?: readonly OwnerReference[];
}

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
}

export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/** A kind with its group, as in `apiVersion` and `kind`. */
export interface GroupKind {
  readonly group: string;
  readonly kind: string;
}

/**
 * An object that is there, was refused, and of which no good version is known. Of what was given only the names, labels
 * and annotations are checked; a kind that guards something fails closed for it.
 */
export interface RefusedObject {
  readonly object: KubeObject;
  readonly reason: string;
}

export interface Informer<T extends KubeObject> {
  /** Resolves when the first full listing is in. */
  readonly synced: Promise<void>;
  list(namespace?: string): readonly T[];
  get(key: NamespacedName): T | undefined;
  /** Refused objects without a last good version; listeners hear of them as of the others. */
  refused(): readonly RefusedObject[];
  /** Calls back with the key of every object that was added, changed or removed, starting with those already there. */
  subscribe(listener: (key: NamespacedName) => void): Disposable;
}

export interface WatchOptions {
  /** Only objects with this `spec.nodeName` (pods). */
  readonly nodeName?: string;
  /** Only objects of this name, in every namespace. */
  readonly name?: string;
}

/** JSON merge patch (RFC 7396). */
export type MergePatch = Readonly<Record<string, unknown>>;

export interface KubeSource extends AsyncDisposable {
  /** One informer per kind and options; asking again returns the same one. */
  informer<T extends KubeObject>(kind: GroupKind, options?: WatchOptions): Informer<T>;
}

export interface KubeWriter {
  /** Merges `patch` into the object's status. Rejects with ERR_NOT_FOUND when the object is gone. */
  patchStatus(kind: GroupKind, key: NamespacedName, patch: MergePatch): Promise<void>;
  /** Sets annotations; null removes one. Rejects with ERR_NOT_FOUND when the object is gone. */
  patchAnnotations(kind: GroupKind, key: NamespacedName, patch: Readonly<Record<string, string | null>>): Promise<void>;
}

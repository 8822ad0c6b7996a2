/**
 * Objects merged from manifests and overlays, in memory and without I/O.
 *
 * Invariants
 *  - Of two manifests with the same object the one first by path wins; the other is a problem.
 *  - A broken manifest keeps the objects of its last good version, a refused object its own last good version.
 *  - A refused object without a good version, in any file, is kept apart as such.
 *  - An overlay counts only for the object whose uid it names: a recreated object starts clean.
 *  - `apply` answers exactly the keys whose merged object changed.
 */
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { mergeObject } from '../merge-patch.ts';
import type { KubeObject, RefusedObject } from '../port.ts';
import type { LocatedObject, Manifest, ManifestProblem, RefusedDocument } from './manifest.ts';
import { type KindKey, keyText, type ObjectKey } from './object-key.ts';

export interface Overlay {
  readonly manager: string;
  readonly key: ObjectKey;
  readonly uid: string;
  readonly patch: Readonly<Record<string, unknown>>;
}

export type StoreChange =
  | { readonly kind: 'manifest'; readonly file: string; readonly manifest: Manifest | undefined }
  | { readonly kind: 'overlay'; readonly file: string; readonly overlay: Overlay | undefined };

/** Objects without a creation time are all equally old; ties go by name, as everywhere in Kubernetes. */
const CREATION_TIMESTAMP = '1970-01-01T00:00:00Z';

interface Candidate extends LocatedObject {
  readonly file: string;
}

export class ObjectStore {
  readonly #files = new Map<string, Manifest>();
  readonly #overlayFiles = new Map<string, Overlay>();
  readonly #candidates = new Map<string, readonly Candidate[]>();
  readonly #overlays = new Map<string, ReadonlyMap<string, Overlay>>();
  readonly #refusals = new Map<string, ReadonlyMap<string, RefusedDocument>>();
  readonly #objects = new Map<KindKey, Map<string, KubeObject>>();
  readonly #refused = new Map<KindKey, Map<string, RefusedObject>>();
  readonly #generations = new Map<string, { readonly uid: string | undefined; readonly value: number }>();
  #version = 0;

  /** Every object of a kind, by `keyText`. */
  objects(kind: KindKey): ReadonlyMap<string, KubeObject> {
    return this.#objects.get(kind) ?? new Map();
  }

  /** Refused objects of a kind that have no good version, by `keyText`. */
  refused(kind: KindKey): ReadonlyMap<string, RefusedObject> {
    return this.#refused.get(kind) ?? new Map();
  }

  find(key: ObjectKey): KubeObject | undefined {
    return this.#objects.get(key.kind)?.get(keyText(key));
  }

  /** Everything wrong right now: broken manifests, refused objects, duplicates. */
  problems(): readonly ManifestProblem[] {
    const problems = [...this.#files.values()].flatMap((manifest) => manifest.problems);
    for (const candidates of this.#candidates.values()) {
      const [winner, ...losers] = candidates;
      for (const loser of losers) {
        const { kind, namespace, name } = loser.key;
        const reason = `duplicate of ${kind} ${namespace}/${name} in ${winner?.file}:${winner?.line}, which is used`;
        problems.push({ file: loser.file, line: loser.line, reason, object: loser.key });
      }
    }
    return problems;
  }

  apply(changes: readonly StoreChange[]): readonly ObjectKey[] {
    const touched = new Map<string, ObjectKey>();
    for (const change of changes) {
      const keys = change.kind === 'manifest' ? this.#setManifest(change) : this.#setOverlay(change);
      for (const key of keys) touched.set(keyText(key), key);
    }
    return [...touched.values()].filter((key) => this.#merge(key));
  }

  #setManifest({ file, manifest }: StoreChange & { kind: 'manifest' }): Iterable<ObjectKey> {
    const previous = this.#files.get(file);
    const next = manifest && keepLastGood(manifest, previous);
    if (next) this.#files.set(file, next);
    else this.#files.delete(file);
    const touched = new Map<string, ObjectKey>();
    for (const { key } of previous?.objects ?? []) touched.set(keyText(key), key);
    for (const text of touched.keys()) {
      this.#setCandidates(
        text,
        (this.#candidates.get(text) ?? []).filter((candidate) => candidate.file !== file),
      );
    }
    for (const located of next?.objects ?? []) {
      const text = keyText(located.key);
      touched.set(text, located.key);
      this.#setCandidates(text, [...(this.#candidates.get(text) ?? []), { ...located, file }]);
    }
    for (const { key } of previous?.refused ?? []) {
      touched.set(keyText(key), key);
      this.#setRefusal(keyText(key), file, undefined);
    }
    for (const document of next?.refused ?? []) {
      touched.set(keyText(document.key), document.key);
      this.#setRefusal(keyText(document.key), file, document);
    }
    return touched.values();
  }

  #setRefusal(text: string, file: string, document: RefusedDocument | undefined): void {
    const byFile = new Map(this.#refusals.get(text));
    if (document) byFile.set(file, document);
    else byFile.delete(file);
    if (byFile.size === 0) this.#refusals.delete(text);
    else this.#refusals.set(text, byFile);
  }

  #setCandidates(text: string, candidates: readonly Candidate[]): void {
    if (candidates.length === 0) this.#candidates.delete(text);
    else if (candidates.length === 1) this.#candidates.set(text, candidates);
    else
      this.#candidates.set(
        text,
        [...candidates].sort((a, b) => compareText(a.file, b.file) || a.line - b.line),
      );
  }

  #setOverlay({ file, overlay }: StoreChange & { kind: 'overlay' }): readonly ObjectKey[] {
    const previous = this.#overlayFiles.get(file);
    if (overlay) this.#overlayFiles.set(file, overlay);
    else this.#overlayFiles.delete(file);
    const touched: ObjectKey[] = [];
    for (const one of [previous, overlay]) {
      if (!one) continue;
      const text = keyText(one.key);
      const byManager = new Map(this.#overlays.get(text));
      if (one === overlay) byManager.set(one.manager, one);
      else byManager.delete(one.manager);
      if (byManager.size === 0) this.#overlays.delete(text);
      else this.#overlays.set(text, byManager);
      touched.push(one.key);
    }
    return touched;
  }

  /** Rebuilds one object; answers whether it changed. */
  #merge(key: ObjectKey): boolean {
    const text = keyText(key);
    const kind = this.#objects.get(key.kind) ?? new Map<string, KubeObject>();
    this.#objects.set(key.kind, kind);
    const before = kind.get(text);
    const candidate = this.#candidates.get(text)?.[0];
    const wasRefused = this.#markRefused(
      key,
      candidate ? undefined : [...(this.#refusals.get(text) ?? [])].sort()[0]?.[1],
    );
    if (!candidate) {
      kind.delete(text);
      this.#generations.delete(text);
      return before !== undefined || wasRefused;
    }
    let merged = identify(candidate);
    const overlays = [...(this.#overlays.get(text)?.values() ?? [])].sort((a, b) => compareText(a.manager, b.manager));
    for (const overlay of overlays) {
      if (overlay.uid === merged.metadata.uid) merged = mergeObject(merged, overlay.patch);
    }
    if (before && isDeepStrictEqual(withoutVersions(before), withoutVersions(merged))) return false;
    this.#version += 1;
    const metadata = { ...merged.metadata, resourceVersion: String(this.#version), generation: 0 };
    metadata.generation = candidate.object.metadata.generation ?? this.#generation(text, before, merged);
    kind.set(text, { ...merged, metadata });
    return true;
  }

  /** Answers whether that changed anything. */
  #markRefused(key: ObjectKey, document: RefusedDocument | undefined): boolean {
    const text = keyText(key);
    const kind = this.#refused.get(key.kind) ?? new Map<string, RefusedObject>();
    if (!document) return kind.delete(text);
    const refused = { object: identify(document), reason: document.reason };
    if (isDeepStrictEqual(kind.get(text), refused)) return false;
    this.#refused.set(key.kind, kind.set(text, refused));
    return true;
  }

  #generation(text: string, before: KubeObject | undefined, merged: KubeObject): number {
    const known = this.#generations.get(text);
    const { uid } = merged.metadata;
    let value = 1;
    if (known && before && known.uid === uid) {
      value = isDeepStrictEqual(specOf(before), specOf(merged)) ? known.value : known.value + 1;
    }
    this.#generations.set(text, { uid, value });
    return value;
  }
}

function keepLastGood(manifest: Manifest, previous: Manifest | undefined): Manifest {
  if (!previous) return manifest;
  if (manifest.broken) {
    const refused = new Map(
      [...previous.refused, ...manifest.refused].map((document) => [keyText(document.key), document]),
    );
    return { ...manifest, objects: previous.objects, refused: [...refused.values()] };
  }
  const present = new Set(manifest.objects.map((located) => keyText(located.key)));
  const refused = new Set(manifest.problems.flatMap((problem) => (problem.object ? [keyText(problem.object)] : [])));
  const kept = previous.objects.filter(({ key }) => refused.has(keyText(key)) && !present.has(keyText(key)));
  return kept.length === 0 ? manifest : { ...manifest, objects: [...manifest.objects, ...kept] };
}

/** Fills in what an API server would: namespace, uid, creation time. The same input gives the same answer. */
function identify({ object, key }: LocatedObject): KubeObject {
  const { metadata } = object;
  const uid = metadata.uid ?? uidOf(keyText(key));
  const creationTimestamp = metadata.creationTimestamp ?? CREATION_TIMESTAMP;
  const namespaced = key.namespace === '' ? {} : { namespace: key.namespace };
  return { ...object, metadata: { ...metadata, ...namespaced, uid, creationTimestamp } };
}

function uidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

function withoutVersions(object: KubeObject): unknown {
  const { resourceVersion: _version, generation: _generation, ...metadata } = object.metadata;
  return { ...object, metadata };
}

function specOf(object: KubeObject): unknown {
  const { metadata: _metadata, status: _status, ...spec } = object as KubeObject & { status?: unknown };
  return spec;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

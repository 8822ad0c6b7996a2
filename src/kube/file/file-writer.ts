/**
 * Writes to a directory that `FileSource` reads: status and annotations as overlays of one field manager, whole objects
 * for programs that make some (the scheduler of the local cluster).
 *
 * Invariants
 *  - A reader never sees a half-written file: every write is a rename.
 *  - Writes to one object are done in the order they were asked for; a write that changes nothing is not done.
 *  - A field manager is one process: two processes never share a manager name.
 *  - What was written on an object goes with it, so that one made anew under its name starts clean. An object is gone
 *    when it is still gone after `GONE_MS`: moving its file is no end.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { errnoName, errorMessage, MeshError } from '../../core/errors.ts';
import type { NamespacedName } from '../../model/address.ts';
import { composePatches } from '../merge-patch.ts';
import type { GroupKind, KubeObject, KubeWriter, MergePatch } from '../port.ts';
import type { FileSource } from './file-source.ts';
import { kindKey, type ObjectKey, objectKeyOf } from './object-key.ts';
import { keyPath, OVERLAY_FOLDER, objectPath, overlayKey, overlayPath, parseOverlay } from './overlay-file.ts';

export interface FileWriterOptions {
  readonly source: FileSource;
  /** Names the writer: `culvert-controller`, `culvert-cni-<node>`. A name for files: letters, digits, `.`, `-`, `_`. */
  readonly manager: string;
}

const GONE_MS = 1_000;

export class FileWriter implements KubeWriter {
  readonly #source: FileSource;
  readonly #manager: string;
  readonly #chains = new Map<string, Promise<void>>();
  #temporaries = 0;

  constructor({ source, manager }: FileWriterOptions) {
    this.#source = source;
    this.#manager = manager;
    source.onRemoved((key) => void setTimeout(() => this.#forgetOwn(key), GONE_MS).unref());
    void this.#sweep();
  }

  patchStatus(kind: GroupKind, key: NamespacedName, patch: MergePatch): Promise<void> {
    return this.patchObject(kind, key, { status: patch });
  }

  patchAnnotations(
    kind: GroupKind,
    key: NamespacedName,
    patch: Readonly<Record<string, string | null>>,
  ): Promise<void> {
    return this.patchObject(kind, key, { metadata: { annotations: patch } });
  }

  /** Any merge patch over an object, such as `spec.nodeName` of a pod. Rejects with ERR_NOT_FOUND when it is gone. */
  patchObject(kind: GroupKind, key: NamespacedName, patch: MergePatch): Promise<void> {
    const objectKey = { kind: kindKey(kind), ...pick(key) };
    return this.#inOrder(overlayPath(this.#manager, objectKey), async (path) => {
      const found = this.#source.find(kind, key) ?? this.#source.findRefused(kind, key);
      const uid = found?.metadata.uid;
      if (uid === undefined) throw new MeshError('ERR_NOT_FOUND', `no ${kind.kind} ${key.namespace}/${key.name}`);
      const before = await this.#readOverlay(path, uid);
      const after = composePatches(before, patch);
      if (before !== undefined && isDeepStrictEqual(before, after)) return;
      await this.#write(path, { uid, patch: after });
    });
  }

  /** Creates or replaces an object of our own making. */
  applyObject(object: KubeObject): Promise<void> {
    return this.#inOrder(objectPath(objectKeyOf(object)), (path) => this.#write(path, object));
  }

  /** Removes an object made by `applyObject` and every overlay on it; nothing to remove is fine. */
  async deleteObject(kind: GroupKind, key: NamespacedName): Promise<void> {
    const objectKey = { kind: kindKey(kind), ...pick(key) };
    await this.#inOrder(objectPath(objectKey), (path) => rm(join(this.#source.directory, path), { force: true }));
    await this.forget(objectKey);
  }

  /** Removes the overlays of all field managers on an object. */
  async forget(key: ObjectKey): Promise<void> {
    const managers = await readdir(join(this.#source.directory, OVERLAY_FOLDER)).catch(() => []);
    for (const manager of managers) {
      await rm(join(this.#source.directory, OVERLAY_FOLDER, manager, keyPath(key)), { force: true });
    }
  }

  /** Removes what this manager wrote on objects that went while it did not run. */
  async #sweep(): Promise<void> {
    const root = join(this.#source.directory, OVERLAY_FOLDER, this.#manager);
    const files = await readdir(root, { recursive: true }).catch(() => []);
    for (const file of files) {
      const [kind, namespace, name, ...rest] = file.split('/');
      if (!kind || !namespace || !name?.endsWith('.json') || name.startsWith('.') || rest.length > 0) continue;
      this.#forgetOwn(overlayKey(kind, namespace, name));
    }
  }

  #forgetOwn(key: ObjectKey): void {
    if (this.#source.has(key)) return;
    this.#inOrder(overlayPath(this.#manager, key), async (path) => {
      if (!this.#source.has(key)) await rm(join(this.#source.directory, path), { force: true });
    }).catch(() => undefined); // stays behind; it counts for nothing while the object is away
  }

  /** Runs `work` after everything asked before for the same file. */
  #inOrder(path: string, work: (path: string) => Promise<void>): Promise<void> {
    const before = this.#chains.get(path) ?? Promise.resolve();
    const done = before.then(() => work(path));
    const settled = done.catch(() => {});
    this.#chains.set(path, settled);
    void settled.then(() => {
      if (this.#chains.get(path) === settled) this.#chains.delete(path);
    });
    return done;
  }

  /** The patch this manager has on the object now; that of an older object of the same name does not count. */
  async #readOverlay(path: string, uid: string): Promise<unknown> {
    const text = await readFile(join(this.#source.directory, path), 'utf8').catch(() => undefined);
    const overlay = text === undefined ? undefined : parseOverlay(path, text);
    return typeof overlay === 'object' && overlay.uid === uid ? overlay.patch : undefined;
  }

  async #write(path: string, value: unknown): Promise<void> {
    const absolute = join(this.#source.directory, path);
    this.#temporaries += 1;
    const temporary = join(dirname(absolute), `.${this.#manager}.${process.pid}.${this.#temporaries}`);
    try {
      await mkdir(dirname(absolute), { recursive: true });
      await writeFile(temporary, `${JSON.stringify(value)}\n`, { flag: 'wx' });
      await rename(temporary, absolute);
    } catch (cause) {
      await rm(temporary, { force: true });
      const errno = errnoName(cause) ?? '';
      throw new MeshError('ERR_SYSTEM', `cannot write ${absolute}: ${errno} ${errorMessage(cause)}`, { cause });
    }
  }
}

function pick({ namespace, name }: NamespacedName): NamespacedName {
  return { namespace, name };
}

/**
 * A directory of Kubernetes YAML as a watch provider.
 *
 * Every process that opens the directory sees the same objects: manifests, objects made by programs (`.objects`) and
 * what field managers wrote on top of them (`.overlay`). A broken file is reported with file, line and reason; its last
 * good objects stay and everything else keeps working.
 */
import { mkdir } from 'node:fs/promises';
import { errorMessage, MeshError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { NamespacedName } from '../../model/address.ts';
import type { GroupKind, Informer, KubeObject, KubeSource, WatchOptions } from '../port.ts';
import { FileInformer } from './file-informer.ts';
import { type FileChange, FileTree } from './file-tree.ts';
import { type ManifestProblem, type ObjectCheck, parseManifest } from './manifest.ts';
import { keyText, kindKey, type ObjectKey } from './object-key.ts';
import { ObjectStore, type StoreChange } from './object-store.ts';
import { OBJECTS_FOLDER, OVERLAY_FOLDER, parseOverlay } from './overlay-file.ts';

export interface FileSourceOptions {
  /** Made when absent. */
  readonly directory: string;
  readonly log: Logger;
  /** Refuses objects that an API server would refuse; by the schemas of their kinds when absent. */
  readonly check?: ObjectCheck;
}

export class FileSource implements KubeSource {
  readonly directory: string;
  readonly #log: Logger;
  readonly #check: ObjectCheck | undefined;
  readonly #store = new ObjectStore();
  readonly #informers = new Map<string, FileInformer>();
  readonly #refused = new Map<string, ManifestProblem>();
  readonly #problemListeners = new Set<() => void>();
  readonly #removalListeners = new Set<(key: ObjectKey) => void>();
  #reported = new Set<string>();
  #tree: FileTree | undefined;

  private constructor({ directory, log, check }: FileSourceOptions) {
    this.directory = directory;
    this.#log = log;
    this.#check = check;
  }

  /** Resolves when the whole directory has been read once. Rejects with ERR_SYSTEM when it cannot be read. */
  static async open(options: FileSourceOptions): Promise<FileSource> {
    const source = new FileSource(options);
    try {
      await mkdir(options.directory, { recursive: true });
      source.#tree = await FileTree.open({
        root: options.directory,
        fastFolders: [OVERLAY_FOLDER, OBJECTS_FOLDER],
        onChanges: (changes) => source.#onChanges(changes),
        onFault: (reason) => source.#log.warn('resource directory', { directory: options.directory, reason }),
      });
    } catch (cause) {
      throw new MeshError('ERR_SYSTEM', `cannot read ${options.directory}: ${errorMessage(cause)}`, { cause });
    }
    return source;
  }

  informer<T extends KubeObject>(kind: GroupKind, options: WatchOptions = {}): Informer<T> {
    const key = kindKey(kind);
    const id = `${key} ${options.nodeName ?? ''} ${options.name ?? ''}`;
    let informer = this.#informers.get(id);
    if (!informer) {
      informer = new FileInformer(key, this.#store, options);
      this.#informers.set(id, informer);
    }
    // The caller names the type of the kind it asks for; the check has refused objects of another shape.
    return informer as unknown as Informer<T>;
  }

  /** Present state of any object, also of kinds nobody watches. */
  find(kind: GroupKind, { namespace, name }: NamespacedName): KubeObject | undefined {
    return this.#store.find({ kind: kindKey(kind), namespace, name });
  }

  /** An object that is there and was refused, and has no good version. */
  findRefused(kind: GroupKind, { namespace, name }: NamespacedName): KubeObject | undefined {
    const key = { kind: kindKey(kind), namespace, name };
    return this.#store.refused(key.kind).get(keyText(key))?.object;
  }

  /** Everything wrong right now. */
  problems(): readonly ManifestProblem[] {
    return [...this.#refused.values(), ...this.#store.problems()];
  }

  /** Calls back when `problems()` may have changed. */
  onProblems(listener: () => void): Disposable {
    this.#problemListeners.add(listener);
    return { [Symbol.dispose]: () => void this.#problemListeners.delete(listener) };
  }

  /** Calls back with the key of every object that is gone, of any kind. */
  onRemoved(listener: (key: ObjectKey) => void): Disposable {
    this.#removalListeners.add(listener);
    return { [Symbol.dispose]: () => void this.#removalListeners.delete(listener) };
  }

  /** Present state by key; a refused object is there too. */
  has(key: ObjectKey): boolean {
    return this.#store.find(key) !== undefined || this.#store.refused(key.kind).has(keyText(key));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tree?.[Symbol.asyncDispose]();
    this.#informers.clear();
    this.#problemListeners.clear();
    this.#removalListeners.clear();
  }

  #onChanges(files: readonly FileChange[]): void {
    const changed = this.#store.apply(files.map((file) => this.#toChange(file)));
    this.#report();
    for (const key of changed) {
      if (!this.has(key)) for (const listener of [...this.#removalListeners]) listener(key);
    }
    for (const informer of [...this.#informers.values()]) informer.notify(changed, (error) => this.#onListener(error));
  }

  #toChange({ path, text, refused }: FileChange): StoreChange {
    this.#refused.delete(path);
    if (refused !== undefined) this.#refused.set(path, { file: path, line: 1, reason: refused });
    if (path.startsWith(`${OVERLAY_FOLDER}/`)) {
      const overlay = text === undefined ? undefined : parseOverlay(path, text);
      if (typeof overlay !== 'string') return { kind: 'overlay', file: path, overlay };
      this.#refused.set(path, { file: path, line: 1, reason: overlay });
      return { kind: 'overlay', file: path, overlay: undefined };
    }
    if (refused !== undefined) {
      // It is there and cannot be read: its last good objects stay.
      return { kind: 'manifest', file: path, manifest: { objects: [], refused: [], problems: [], broken: true } };
    }
    return { kind: 'manifest', file: path, manifest: text === undefined ? undefined : this.#parse(path, text) };
  }

  #parse(path: string, text: string) {
    try {
      return parseManifest(path, text, this.#check);
    } catch (error) {
      const reason = `cannot be parsed: ${errorMessage(error)}`;
      return { objects: [], refused: [], problems: [{ file: path, line: 1, reason }], broken: true };
    }
  }

  #report(): void {
    const problems = this.problems();
    const known = this.#reported;
    this.#reported = new Set(problems.map(problemText));
    for (const problem of problems) {
      if (known.has(problemText(problem))) continue;
      const { file, line, reason } = problem;
      this.#log.warn('manifest refused', { file, line, reason });
    }
    const same = known.size === this.#reported.size && [...known].every((text) => this.#reported.has(text));
    if (!same) for (const listener of [...this.#problemListeners]) listener();
  }

  #onListener(error: unknown): void {
    this.#log.error('a watch listener failed', { error: errorMessage(error) });
  }
}

function problemText({ file, line, reason }: ManifestProblem): string {
  return `${file}:${line}: ${reason}`;
}

/**
 * A folder as a stream of file contents: first everything, then what changes.
 *
 * Invariants
 *  - Regular files only: symbolic links and files above the size bound are refused with a reason, never followed or read.
 *  - Folders are watched by inotify; a slow re-scan finds what an overflowing or missing watch did not tell.
 *  - A file written in place is read once it has been quiet for `SETTLE_MS`; one that became empty must stay so for
 *    `EMPTY_SETTLE_MS`, because writers truncate before they write. Files under the fast folders are always renamed
 *    into place and are read at once.
 */
import { constants, type FSWatcher, watch } from 'node:fs';
import { lstat, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoName, errorMessage } from '../../core/errors.ts';

/** `text` undefined: the file is gone. `refused`: it is there and is not read. */
export interface FileChange {
  readonly path: string;
  readonly text: string | undefined;
  readonly refused?: string;
}

export interface FileTreeOptions {
  readonly root: string;
  /** Hidden folders directly under the root that are read as well. */
  readonly fastFolders: readonly string[];
  onChanges(changes: readonly FileChange[]): void;
  /** Something about watching itself that a person should know. */
  onFault(reason: string): void;
}

const SETTLE_MS = 8;
const SETTLE_LIMIT_MS = 200;
const EMPTY_SETTLE_MS = 80;
const RESCAN_MS = 10_000;
const MAX_FILE_BYTES = 32 * 1024 * 1024;
const MAX_FILES = 100_000;
const MAX_DEPTH = 8;
const READ_CONCURRENCY = 16;
const MANIFEST = /\.(ya?ml|json)$/;

interface Seen {
  readonly mtimeMs: number;
  readonly size: number;
  readonly inode: number;
}

interface Due {
  readonly firstMs: number;
  readonly atMs: number;
}

export class FileTree implements AsyncDisposable {
  readonly #options: FileTreeOptions;
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #seen = new Map<string, Seen>();
  readonly #emptied = new Set<string>();
  readonly #queue = new Map<string, Due>();
  readonly #rescan: NodeJS.Timeout;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #closed = false;
  #told = false;

  private constructor(options: FileTreeOptions) {
    this.#options = options;
    this.#rescan = setInterval(() => void this.#scan('', 0, 'changed'), RESCAN_MS);
    this.#rescan.unref();
  }

  /** Resolves when every file there was has been delivered. Rejects when the root cannot be read. */
  static async open(options: FileTreeOptions): Promise<FileTree> {
    await readdir(options.root);
    const tree = new FileTree(options);
    await tree.#scan('', 0, 'all');
    while (tree.#queue.size > 0 || tree.#running) await (tree.#running ?? tree.#run(Number.POSITIVE_INFINITY));
    return tree;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#rescan);
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
    this.#queue.clear();
    await this.#running;
  }

  async #scan(folder: string, depth: number, which: 'all' | 'changed'): Promise<void> {
    if (this.#closed || depth > MAX_DEPTH) return;
    this.#watch(folder);
    let entries: Awaited<ReturnType<typeof readEntries>>;
    try {
      entries = await readEntries(join(this.#options.root, folder));
    } catch {
      return this.#forget(folder);
    }
    const present = new Set<string>();
    for (const entry of entries) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) {
        if (this.#follows(path)) await this.#scan(path, depth + 1, which);
      } else if (this.#reads(path)) {
        present.add(path);
        if (which === 'all' || (await this.#differs(path))) this.#enqueue(path, 0);
      }
    }
    if (which === 'changed') {
      for (const path of this.#seen.keys()) {
        if (folderOf(path) === folder && !present.has(path)) this.#enqueue(path, 0);
      }
    }
  }

  async #differs(path: string): Promise<boolean> {
    const before = this.#seen.get(path);
    const now = await lstat(join(this.#options.root, path)).catch(() => undefined);
    if (!now || !before) return true;
    return now.mtimeMs !== before.mtimeMs || now.size !== before.size || now.ino !== before.inode;
  }

  #watch(folder: string): void {
    if (this.#watchers.has(folder)) return;
    try {
      const watcher = watch(join(this.#options.root, folder), (_event, name) => this.#onEvent(folder, name));
      watcher.on('error', () => this.#forget(folder));
      this.#watchers.set(folder, watcher);
    } catch (cause) {
      if (errnoName(cause) === 'ENOENT' || this.#told) return;
      this.#told = true;
      this.#options.onFault(`folders cannot be watched and are read every ${RESCAN_MS} ms: ${errorMessage(cause)}`);
    }
  }

  #onEvent(folder: string, name: string | null): void {
    if (this.#closed) return;
    if (name === null) return void this.#scan(folder, depthOf(folder), 'changed');
    const path = folder === '' ? name : `${folder}/${name}`;
    if (this.#reads(path)) this.#enqueue(path, this.#isFast(path) ? 0 : SETTLE_MS);
    else if (this.#follows(path)) void this.#onFolder(path);
  }

  async #onFolder(path: string): Promise<void> {
    const found = await lstat(join(this.#options.root, path)).catch(() => undefined);
    if (found?.isDirectory()) return this.#scan(path, depthOf(path), 'changed');
    if (this.#watchers.has(path)) this.#forget(path);
  }

  /** A folder is gone: so are its files and the folders in it. */
  #forget(folder: string): void {
    const inside = (path: string) => path === folder || path.startsWith(`${folder}/`);
    for (const [path, watcher] of this.#watchers) {
      if (!inside(path)) continue;
      watcher.close();
      this.#watchers.delete(path);
    }
    for (const path of this.#seen.keys()) if (inside(path)) this.#enqueue(path, 0);
  }

  #enqueue(path: string, delayMs: number): void {
    if (this.#closed) return;
    const now = performance.now();
    const firstMs = this.#queue.get(path)?.firstMs ?? now;
    this.#queue.set(path, { firstMs, atMs: Math.min(now + delayMs, firstMs + Math.max(SETTLE_LIMIT_MS, delayMs)) });
    this.#schedule();
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#closed || this.#running || this.#queue.size === 0) return;
    let earliest = Number.POSITIVE_INFINITY;
    for (const { atMs } of this.#queue.values()) earliest = Math.min(earliest, atMs);
    const waitMs = earliest - performance.now();
    if (waitMs <= 0) void this.#run(performance.now());
    else this.#timer = setTimeout(() => void this.#run(performance.now()), Math.ceil(waitMs));
  }

  #run(untilMs: number): Promise<void> {
    if (this.#running) return this.#running;
    // Runs after the caller's stack, so that one burst of events is one batch.
    this.#running = Promise.resolve()
      .then(() => this.#deliver(untilMs))
      .catch((error: unknown) => this.#options.onFault(`changes not delivered: ${errorMessage(error)}`))
      .finally(() => {
        this.#running = undefined;
        this.#schedule();
      });
    return this.#running;
  }

  async #deliver(untilMs: number): Promise<void> {
    const paths = [...this.#queue].filter(([, due]) => due.atMs <= untilMs).map(([path]) => path);
    for (const path of paths) this.#queue.delete(path);
    const changes: FileChange[] = [];
    const next = paths[Symbol.iterator]();
    const worker = async () => {
      for (const path of next) {
        const change = await this.#read(path);
        if (change) changes.push(change);
      }
    };
    await Promise.all(Array.from({ length: READ_CONCURRENCY }, worker));
    if (!this.#closed && changes.length > 0) this.#options.onChanges(changes);
  }

  async #read(path: string): Promise<FileChange | undefined> {
    const absolute = join(this.#options.root, path);
    try {
      const found = await lstat(absolute);
      if (found.isDirectory()) return undefined;
      const known = this.#seen.has(path);
      const wasEmpty = known && this.#seen.get(path)?.size === 0;
      this.#seen.set(path, { mtimeMs: found.mtimeMs, size: found.size, inode: found.ino });
      if (found.isSymbolicLink()) return { path, text: undefined, refused: 'is a symbolic link' };
      if (!found.isFile()) return { path, text: undefined, refused: 'is not a regular file' };
      if (found.size > MAX_FILE_BYTES)
        return { path, text: undefined, refused: `is larger than ${MAX_FILE_BYTES} bytes` };
      if (!known && this.#seen.size > MAX_FILES)
        return { path, text: undefined, refused: `is beyond ${MAX_FILES} files` };
      const text = await readBounded(absolute);
      if (text !== '' || !known || wasEmpty || this.#emptied.has(path)) {
        this.#emptied.delete(path);
        return { path, text };
      }
      this.#emptied.add(path);
      this.#enqueue(path, EMPTY_SETTLE_MS);
      return undefined;
    } catch (cause) {
      if (errnoName(cause) === 'ENOENT' || errnoName(cause) === 'ENOTDIR') {
        this.#emptied.delete(path);
        return this.#seen.delete(path) ? { path, text: undefined } : undefined;
      }
      return { path, text: undefined, refused: `cannot be read: ${errorMessage(cause)}` };
    }
  }

  #isFast(path: string): boolean {
    return this.#options.fastFolders.some((folder) => path.startsWith(`${folder}/`));
  }

  #reads(path: string): boolean {
    const name = path.slice(path.lastIndexOf('/') + 1);
    return MANIFEST.test(name) && !name.startsWith('.');
  }

  #follows(path: string): boolean {
    const name = path.slice(path.lastIndexOf('/') + 1);
    return !name.startsWith('.') || this.#options.fastFolders.includes(path);
  }
}

/** Reads at most the bound, and never through a link: the file may have been swapped since it was looked at. */
async function readBounded(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const parts: Buffer[] = [];
    let total = 0;
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(64 * 1024), 0, 64 * 1024, total);
      if (bytesRead === 0) break;
      total += bytesRead;
      if (total > MAX_FILE_BYTES) throw new Error(`grew above ${MAX_FILE_BYTES} bytes`);
      parts.push(buffer.subarray(0, bytesRead));
    }
    return Buffer.concat(parts).toString('utf8');
  } finally {
    await file.close();
  }
}

function readEntries(folder: string) {
  return readdir(folder, { withFileTypes: true });
}

function folderOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

function depthOf(folder: string): number {
  return folder === '' ? 0 : folder.split('/').length;
}

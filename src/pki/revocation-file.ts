/**
 * The revocation list file of a node: read at start, read again when it changes.
 *
 * A missing or unreadable file enforces nothing and says so, and is looked for again; a file that becomes unreadable keeps what was read before.
 */
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../core/clock.ts';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { RevocationLists } from './revocation-list.ts';
import { WatchedFolder } from './watched-folder.ts';

/** Writers replace a mounted folder in several steps; wait until they are through. */
const SETTLE_MS = 2_000;

export interface RevocationFileOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** What the file says has changed: check live connections again. */
  readonly onChange: (lists: RevocationLists) => void;
}

export class RevocationFile implements AsyncDisposable {
  readonly #options: RevocationFileOptions;
  #lists = RevocationLists.none;
  #bytes = Buffer.alloc(0);
  #watched: WatchedFolder | undefined;

  private constructor(options: RevocationFileOptions) {
    this.#options = options;
  }

  /** Reads the file, then watches its folder until disposed. Never rejects for the file's sake. */
  static async open(options: RevocationFileOptions): Promise<RevocationFile> {
    const file = new RevocationFile(options);
    await file.reload();
    file.#startWatch();
    return file;
  }

  get current(): RevocationLists {
    return this.#lists;
  }

  /** Reads the file now; answers whether what it says has changed. */
  async reload(): Promise<boolean> {
    const { path, log, onChange } = this.#options;
    try {
      const bytes = await readFile(path);
      if (bytes.equals(this.#bytes)) return false;
      this.#lists = RevocationLists.parse(bytes);
      this.#bytes = bytes;
    } catch (error) {
      log.warn('revocation list not usable', { path, error: errorMessage(error) });
      return false;
    }
    log.info('revocation list loaded', { path, lists: this.#lists.size });
    onChange(this.#lists);
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watched?.[Symbol.asyncDispose]();
  }

  #startWatch(): void {
    const { path, clock, log } = this.#options;
    this.#watched = new WatchedFolder({
      ...{ folder: dirname(path), settleMs: SETTLE_MS, clock },
      onChange: () => this.reload(),
      onUnwatched: (error) => log.warn('revocation list not watched', { path, error: errorMessage(error) }),
    });
  }
}

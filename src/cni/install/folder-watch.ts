/**
 * Waits for any change in some folders. Made before the state is looked at, so that no change falls between; made anew
 * for every wait, because a file replaced by rename takes its watch along.
 */
import { type FSWatcher, watch } from 'node:fs';

export class FolderWatch implements Disposable {
  /** Resolves at the first change since this watch was made, or when a folder cannot be watched any more. */
  readonly changed: Promise<void>;
  readonly #watchers: FSWatcher[] = [];

  /** Throws the system error of a folder that cannot be watched. */
  constructor(folders: readonly string[]) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.changed = promise;
    try {
      for (const folder of new Set(folders)) {
        const watcher = watch(folder, { persistent: false });
        this.#watchers.push(watcher);
        watcher.on('change', () => resolve());
        watcher.on('error', () => resolve());
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const watcher of this.#watchers) watcher.close();
  }
}

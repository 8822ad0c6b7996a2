/**
 * A folder that is watched for as long as its owner lives, also when it comes later than the watcher.
 *
 * A folder that cannot be watched, or not yet, is looked into every `UNWATCHED_RETRY_MS`.
 */
import { type FSWatcher, watch } from 'node:fs';
import type { Clock } from '../core/clock.ts';

const UNWATCHED_RETRY_MS = 10_000;

export interface WatchedFolderOptions {
  readonly folder: string;
  /** Writers replace a mounted folder in several steps: wait this long until they are through. */
  readonly settleMs: number;
  readonly clock: Clock;
  /** Looks into the folder. A rejection is its own business. */
  readonly onChange: () => Promise<unknown>;
  readonly onUnwatched: (error: unknown) => void;
}

export class WatchedFolder implements AsyncDisposable {
  readonly #options: WatchedFolderOptions;
  readonly #stop = new AbortController();
  #watcher: FSWatcher | undefined;
  #settling: Promise<void> | undefined;

  constructor(options: WatchedFolderOptions) {
    this.#options = options;
    this.#start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#watcher?.close();
    await this.#settling;
  }

  #start(): void {
    try {
      this.#watcher = watch(this.#options.folder, { persistent: false }, () => this.#changed());
      this.#watcher.on('error', (error) => this.#later(error));
    } catch (error) {
      this.#later(error);
    }
  }

  #later(error: unknown): void {
    const { clock, onUnwatched, onChange } = this.#options;
    onUnwatched(error);
    this.#watcher?.close();
    clock
      .sleep(UNWATCHED_RETRY_MS, this.#stop.signal)
      .then(async () => {
        this.#start();
        await onChange();
      })
      .catch(() => undefined); // closed meanwhile
  }

  #changed(): void {
    const { clock, settleMs, onChange } = this.#options;
    this.#settling ??= clock
      .sleep(settleMs, this.#stop.signal)
      .then(() => {
        this.#settling = undefined;
        return onChange();
      })
      .then(
        () => undefined,
        () => undefined, // closed while waiting
      );
  }
}

/**
 * The body of a request that may be sent more than once. Each try reads it from the start: what was read before is kept,
 * up to a limit; past the limit there is no further try.
 */
import { Readable } from 'node:stream';

/** What Envoy buffers for retries is its connection's buffer, 1 MiB; most bodies that are retried are small. */
const MAX_KEPT_BYTES = 64 * 1024;

export class ReplayBody {
  readonly #source: Readable;
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #ended = false;
  #overflown = false;
  #reader: Readable | undefined;

  constructor(source: Readable) {
    this.#source = source;
    source.on('data', (chunk: Buffer) => this.#onData(chunk));
    source.once('end', () => {
      this.#ended = true;
      this.#reader?.push(null);
    });
    source.once('close', () => {
      if (!this.#ended) this.#reader?.destroy(new Error('the client ended its request'));
    });
    source.pause();
  }

  /** Whether another try can have all of it. */
  get canReplay(): boolean {
    return !this.#overflown;
  }

  /** For one try; the one before gets nothing more. Its owner destroys it. */
  open(): Readable {
    this.#reader = new Readable({ read: () => void this.#source.resume(), highWaterMark: MAX_KEPT_BYTES });
    const reader = this.#reader;
    for (const chunk of this.#kept) reader.push(chunk);
    if (this.#ended) reader.push(null);
    reader.on('error', () => {}); // told by whoever destroyed it
    return reader;
  }

  /** No further try: what is kept is let go. */
  commit(): void {
    this.#kept = [];
    this.#overflown = true;
  }

  #onData(chunk: Buffer): void {
    if (!this.#overflown) {
      this.#keptBytes += chunk.length;
      if (this.#keptBytes > MAX_KEPT_BYTES) this.commit();
      else this.#kept.push(chunk);
    }
    const reader = this.#reader;
    if (!reader || reader.destroyed || !reader.push(chunk)) this.#source.pause();
  }
}

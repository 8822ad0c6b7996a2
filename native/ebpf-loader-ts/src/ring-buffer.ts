/**
 * A BPF_MAP_TYPE_RINGBUF as an async iterable of records.
 *
 * Invariants
 *  - At most `queueMax` records wait in this process; what comes on top is dropped and counted.
 *  - The event loop is kept alive only while a consumer waits.
 */
import { BpfError, checkedValue } from './errors.ts';
import { MAP_TYPES } from './kernel-names.ts';
import type { BpfMap } from './map.ts';
import { native, type RingHandle } from './native.ts';

/** Some seconds of rare events; a consumer that is slower than that loses the newest. */
const DEFAULT_QUEUE_MAX = 1024;

/** Readers that a consumer waits for: nothing else may hold them meanwhile. */
const awaited = new Set<RingBuffer>();

/** Owns a reader of the ring. One consumer at a time. Dispose it to end the iteration. */
export class RingBuffer implements AsyncIterable<Buffer>, Disposable {
  readonly #handle: RingHandle;
  readonly #queue: Buffer[] = [];
  readonly #queueMax: number;
  #dropped = 0;
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(map: BpfMap, options: { readonly queueMax?: number } = {}) {
    if (map.type !== MAP_TYPES.ringbuf) throw new BpfError('EINVAL', `map ${map.name} is not a ring buffer`);
    this.#queueMax = options.queueMax ?? DEFAULT_QUEUE_MAX;
    const self = new WeakRef<RingBuffer>(this); // so that a forgotten reader is collected, and its handle closed
    const onRecord = (record: Buffer): void => {
      const reader = self.deref();
      if (reader !== undefined) reader.#push(record);
    };
    this.#handle = checkedValue(native.ringOpen(map.handle, onRecord), `read ring ${map.name}`);
  }

  /** Records lost because the queue was full. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Records in the order of their commit. Ends when the ring is disposed; queued records are still delivered. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      const record = this.#queue.shift();
      if (record !== undefined) yield record;
      else if (this.#closed) return;
      else await this.#arrival();
    }
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    native.ringClose(this.#handle);
    this.#wake?.();
  }

  #push(record: Buffer): void {
    if (this.#queue.length >= this.#queueMax) {
      this.#dropped++;
      return;
    }
    this.#queue.push(record);
    this.#wake?.();
  }

  async #arrival(): Promise<void> {
    if (this.#wake !== undefined) throw new BpfError('EBUSY', 'the ring buffer has a consumer already');
    native.ringRef(this.#handle, true);
    awaited.add(this);
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
    awaited.delete(this);
    if (!this.#closed) native.ringRef(this.#handle, false);
  }
}

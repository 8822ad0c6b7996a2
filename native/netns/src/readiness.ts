/**
 * Readiness of one descriptor on the event loop. At most one waiter per direction; polling is off while nobody waits, so
 * an idle descriptor neither wakes nor keeps the process. The descriptor itself is not owned.
 */
import { canceled, checked, NetnsError, toNetnsError } from './errors.ts';
import { native, type PollHandle } from './native.ts';

const READABLE = 1;
const WRITABLE = 2;

/** Opens a poll handle; `onReady` gets the events, negative when the kernel reports an error on the descriptor. */
export function openPoll(fd: number, onReady: (events: number) => void): PollHandle {
  const handle = native.pollOpen(fd, onReady);
  if (typeof handle === 'number') throw toNetnsError(handle, 'watch a descriptor');
  return handle;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Readiness implements Disposable {
  readonly #poll: PollHandle;
  #reader: Waiter | undefined;
  #writer: Waiter | undefined;
  #closed = false;

  constructor(fd: number) {
    this.#poll = openPoll(fd, (events) => this.#onReady(events));
  }

  /** Resolves when a read would not block, or would report an error. Rejects with ECANCELED. */
  readable(signal?: AbortSignal): Promise<void> {
    return this.#wait('reader', signal);
  }

  /** Resolves when a write would not block, or would report an error. Rejects with ECANCELED. */
  writable(signal?: AbortSignal): Promise<void> {
    return this.#wait('writer', signal);
  }

  /** Rejects the waiters with ECANCELED. The descriptor may be closed or handed on at once. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    native.pollClose(this.#poll);
    const waiters = [this.#reader, this.#writer];
    this.#reader = undefined;
    this.#writer = undefined;
    for (const waiter of waiters) waiter?.reject(canceled('wait for a closed descriptor'));
  }

  #wait(side: 'reader' | 'writer', signal?: AbortSignal): Promise<void> {
    if (this.#closed) return Promise.reject(canceled('wait for a closed descriptor'));
    if (signal?.aborted) return Promise.reject(canceled('wait for a descriptor', signal));
    if ((side === 'reader' ? this.#reader : this.#writer) !== undefined)
      return Promise.reject(new NetnsError('EBUSY', `the descriptor has a ${side} already`));
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#set(side, undefined);
        reject(canceled('wait for a descriptor', signal));
      };
      const leave = () => signal?.removeEventListener('abort', onAbort);
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#set(side, {
        resolve: () => {
          leave();
          resolve();
        },
        reject: (error) => {
          leave();
          reject(error);
        },
      });
    });
  }

  #set(side: 'reader' | 'writer', waiter: Waiter | undefined): void {
    if (side === 'reader') this.#reader = waiter;
    else this.#writer = waiter;
    if (!this.#closed) this.#update();
  }

  #update(): void {
    const events = (this.#reader ? READABLE : 0) | (this.#writer ? WRITABLE : 0);
    checked(native.pollSet(this.#poll, events), 'watch a descriptor');
  }

  #onReady(events: number): void {
    const ready = events < 0 ? READABLE | WRITABLE : events;
    const reader = ready & READABLE ? this.#reader : undefined;
    const writer = ready & WRITABLE ? this.#writer : undefined;
    if (reader) this.#reader = undefined;
    if (writer) this.#writer = undefined;
    this.#update();
    reader?.resolve();
    writer?.resolve();
  }
}

/**
 * The tokens of local rate limits as a worker takes them: from the process that all workers of a pod share. When that
 * does not answer in time the request passes: a limit is no guard.
 */
import type { TokenBucket } from '../model/l7/index.ts';
import type { Taken, TokenTaker } from '../waypoint/index.ts';
import type { FromWorker, ToWorker } from './waypoint-workers.ts';

const WAIT_MS = 1_000;
const PASSED: Taken = { allowed: true, remaining: 0, resetMs: 0 };
/** More are under way only when the parent is stuck. */
const PENDING_MAX = 10_000;

export class ParentBuckets implements TokenTaker {
  readonly #tell: (message: FromWorker) => void;
  readonly #pending = new Map<number, (taken: Taken) => void>();
  #lastId = 0;

  constructor(tell: (message: FromWorker) => void) {
    this.#tell = tell;
  }

  take(key: string, bucket: TokenBucket): Taken | Promise<Taken> {
    if (this.#pending.size >= PENDING_MAX) return PASSED;
    this.#lastId += 1;
    const id = this.#lastId;
    const { promise, resolve } = Promise.withResolvers<Taken>();
    const timer = setTimeout(() => this.#settle(id, PASSED), WAIT_MS);
    this.#pending.set(id, (taken) => {
      clearTimeout(timer);
      resolve(taken);
    });
    this.#tell({ kind: 'take', id, key, bucket });
    return promise;
  }

  /** To be called with every message of the parent. */
  onMessage(message: ToWorker): void {
    if (message.kind === 'taken') this.#settle(message.id, message.taken);
  }

  #settle(id: number, taken: Taken): void {
    const settle = this.#pending.get(id);
    this.#pending.delete(id);
    settle?.(taken);
  }
}

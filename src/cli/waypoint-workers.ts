/**
 * Several workers of one waypoint: processes that share the port. This process serves readiness and metrics for all of
 * them and starts a worker again that ended by itself.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { extname, join } from 'node:path';
import { AggregatorRegistry, type MetricObject } from 'prom-client';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { TokenBucket } from '../model/l7/index.ts';
import { type Taken, TokenBuckets } from '../waypoint/index.ts';

/** Between the processes. */
export type ToWorker =
  | { readonly kind: 'metrics'; readonly id: number }
  | { readonly kind: 'taken'; readonly id: number; readonly taken: Taken };
export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'metrics'; readonly id: number; readonly metrics: readonly MetricObject[] }
  | { readonly kind: 'take'; readonly id: number; readonly key: string; readonly bucket: TokenBucket };

const MAIN = join(import.meta.dirname, `main${extname(import.meta.filename)}`);
const RESTART_MS = 500;
const METRICS_TIMEOUT_MS = 2_000;

interface WorkerProcess {
  readonly child: ChildProcess;
  isReady: boolean;
}

export class WorkerPool {
  readonly #count: number;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #workers = new Map<number, WorkerProcess>();
  readonly #waiting = new Map<number, (metrics: readonly MetricObject[]) => void>();
  readonly #buckets: TokenBuckets;
  #ending = false;
  #lastId = 0;

  constructor(count: number, { log, clock }: { readonly log: Logger; readonly clock: Clock }) {
    this.#count = count;
    this.#log = log;
    this.#clock = clock;
    this.#buckets = new TokenBuckets(() => clock.monotonicMs());
    for (let index = 0; index < count; index++) this.#start(index);
  }

  get isReady(): boolean {
    const ready = [...this.#workers.values()].filter((worker) => worker.isReady);
    return ready.length === this.#count;
  }

  /** The metrics of all workers, added up. A worker that does not answer in time is left out. */
  async metrics(): Promise<string> {
    const answers = await Promise.all([...this.#workers.values()].map((worker) => this.#ask(worker)));
    const present = answers.filter((answer) => answer.length > 0);
    return await AggregatorRegistry.aggregate([...present] as never).metrics(); // takes what getMetricsAsJSON gives
  }

  /** Each drains by itself; resolves when all have ended. */
  async end(): Promise<void> {
    this.#ending = true;
    await Promise.all(
      [...this.#workers.values()].map(
        ({ child }) =>
          new Promise<void>((resolve) => {
            if (child.exitCode !== null || child.signalCode !== null) return resolve();
            child.once('exit', () => resolve());
            child.kill('SIGTERM');
          }),
      ),
    );
  }

  #start(index: number): void {
    const child = fork(MAIN, ['waypoint', '--worker'], { serialization: 'advanced' });
    const worker: WorkerProcess = { child, isReady: false };
    this.#workers.set(index, worker);
    child.on('message', (message: FromWorker) => {
      if (message.kind === 'ready') worker.isReady = true;
      else if (message.kind === 'take') this.#take(child, message);
      else this.#waiting.get(message.id)?.(message.metrics);
    });
    child.once('error', (error) => this.#log.error('worker not started', { index, error: error.message }));
    child.once('exit', (code) => {
      worker.isReady = false;
      if (this.#ending) return;
      this.#log.warn('worker ended, starting it again', { index, code });
      void this.#clock.sleep(RESTART_MS).then(() => this.#ending || this.#start(index));
    });
  }

  /** The tokens of local rate limits are here, so that all workers share them. */
  #take(child: ChildProcess, { id, key, bucket }: FromWorker & { readonly kind: 'take' }): void {
    const taken = this.#buckets.take(key, bucket);
    if (child.connected) child.send({ kind: 'taken', id, taken } satisfies ToWorker, () => undefined);
  }

  #ask({ child }: WorkerProcess): Promise<readonly MetricObject[]> {
    this.#lastId += 1;
    const id = this.#lastId;
    const { promise, resolve } = Promise.withResolvers<readonly MetricObject[]>();
    this.#waiting.set(id, resolve);
    const late = this.#clock.sleep(METRICS_TIMEOUT_MS).then((): readonly MetricObject[] => []);
    if (child.connected) child.send({ kind: 'metrics', id } satisfies ToWorker, () => undefined);
    else resolve([]);
    return Promise.race([promise, late]).finally(() => this.#waiting.delete(id));
  }
}

/**
 * One certificate per identity, fetched once, renewed ahead of its end, shared by everybody who asks.
 *
 * Invariants
 *  - Of one identity one request at most is under way; of all identities `concurrency` at most.
 *  - A waiting connection goes before a prefetch, a prefetch before a renewal.
 *  - While renewal fails, the old certificate is served for as long as it is valid.
 *  - While there is none and the last attempt failed, askers get that failure at once; only the next retry asks again.
 * Source: Istio tunnel's secret manager.
 */
import type { Clock } from '../core/clock.ts';
import { errorMessage, MeshError } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { type Identity, identityUri } from '../model/identity.ts';
import type { CertificateSource } from './certificate-source.ts';
import { failureBackoffMs, renewalDelayMs } from './renewal.ts';
import type { Svid } from './svid.ts';

/** RealTime: a connection waits. Warmup: a workload was announced. Background: renewal. */
export type Priority = 'RealTime' | 'Warmup' | 'Background';

export interface CertificateCacheOptions {
  readonly source: CertificateSource;
  readonly clock: Clock;
  readonly log: Logger;
  /** In [0, 1). */
  readonly random: () => number;
  /** Requests under way; 8 in the programs. */
  readonly concurrency: number;
  /** An identity has a certificate that it had not before: TLS contexts of the old one are to be dropped. */
  readonly onChange?: (svid: Svid) => void;
}

/** For the config dump. */
export type CertificateStatus = { readonly identity: Identity } & (
  | { readonly state: 'Available'; readonly svid: Svid }
  | { readonly state: 'Initializing' }
  | { readonly state: 'Unavailable'; readonly error: string }
);

interface Entry {
  readonly identity: Identity;
  /** Outcome of the attempt that is queued or under way, when somebody can wait for it. */
  outcome: PromiseWithResolvers<Svid>;
  svid: Svid | undefined;
  error: MeshError | undefined;
  priority: Priority;
  /** Time of the next attempt on the monotonic clock. */
  dueMs: number;
  /** Order among equals. */
  turn: number;
  failures: number;
  underWay: boolean;
}

/** More identities than a node has pods. */
const MAX_IDENTITIES = 10_000;
const RANK = { RealTime: 0, Warmup: 1, Background: 2 } as const satisfies Record<Priority, number>;

export class CertificateCache implements AsyncDisposable {
  readonly #options: CertificateCacheOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();
  #wake = new AbortController();
  #turns = 0;

  constructor(options: CertificateCacheOptions) {
    this.#options = options;
    this.#wake.abort(); // no timer is set
  }

  /**
   * A valid certificate. Rejects with ERR_IDENTITY: the last attempt failed, the identity was forgotten meanwhile, the
   * cache is closed or full, or `signal` aborted. Waits for as long as an attempt takes.
   */
  async get(identity: Identity, signal?: AbortSignal): Promise<Svid> {
    const { clock } = this.#options;
    const entry = this.#demand(identity, 'RealTime');
    if (entry.svid?.isValidAt(clock.nowMs())) return entry.svid;
    if (entry.error) throw entry.error;
    const outcome = entry.outcome.promise;
    return signal ? orAborted(outcome, signal) : outcome;
  }

  /** Sees to it that the identity will have a certificate. A full cache logs and leaves it. */
  prefetch(identity: Identity): void {
    try {
      this.#demand(identity, 'Warmup');
    } catch (error) {
      this.#options.log.warn('certificate not prefetched', { error: errorMessage(error) });
    }
  }

  /** The certificate at hand, valid or not, without asking for one. */
  find(identity: Identity): Svid | undefined {
    return this.#entries.get(identityUri(identity))?.svid;
  }

  /** Drops the certificate and stops renewing it; who waits for it is told. */
  forget(identity: Identity): void {
    const key = identityUri(identity);
    const entry = this.#entries.get(key);
    this.#entries.delete(key);
    entry?.outcome.reject(new MeshError('ERR_IDENTITY', `identity ${key} was forgotten`));
  }

  /** The authority is there again: whatever failed is tried now. */
  retryFailed(): void {
    for (const entry of this.#entries.values()) {
      if (entry.failures === 0 || entry.underWay) continue;
      entry.failures = 0;
      entry.error = undefined; // askers wait for this attempt
      entry.dueMs = this.#options.clock.monotonicMs();
    }
    this.#pump();
  }

  /** Sorted by identity. */
  status(): readonly CertificateStatus[] {
    const sorted = [...this.#entries].sort(([a], [b]) => (a < b ? -1 : 1));
    return sorted.map(([, { identity, svid, error }]) => {
      if (svid?.isValidAt(this.#options.clock.nowMs())) return { identity, state: 'Available', svid };
      return error ? { identity, state: 'Unavailable', error: error.message } : { identity, state: 'Initializing' };
    });
  }

  /** Ends renewals; who waits is told. Resolves when the last request has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#wake.abort();
    for (const { identity } of [...this.#entries.values()]) this.forget(identity);
    await Promise.allSettled(this.#running);
  }

  #demand(identity: Identity, priority: Priority): Entry {
    const key = identityUri(identity);
    const known = this.#entries.get(key);
    if (known) return this.#raise(known, priority);
    if (this.#stop.signal.aborted) throw new MeshError('ERR_IDENTITY', 'certificates are no longer served');
    if (this.#entries.size >= MAX_IDENTITIES)
      throw new MeshError('ERR_IDENTITY', `more than ${MAX_IDENTITIES} identities`);
    const entry = this.#newEntry(identity, priority);
    this.#entries.set(key, entry);
    this.#pump();
    return entry;
  }

  #newEntry(identity: Identity, priority: Priority): Entry {
    this.#turns += 1;
    const dueMs = this.#options.clock.monotonicMs();
    const state = { svid: undefined, error: undefined, failures: 0, underWay: false };
    return { identity, outcome: newOutcome(), priority, dueMs, turn: this.#turns, ...state };
  }

  /** An asker makes a queued first fetch more urgent, and a certificate that ran out unnoticed due. */
  #raise(entry: Entry, priority: Priority): Entry {
    const { clock } = this.#options;
    if (entry.svid?.isValidAt(clock.nowMs()) || entry.error) return entry;
    if (RANK[priority] < RANK[entry.priority]) entry.priority = priority;
    if (entry.svid && !entry.underWay) {
      entry.dueMs = clock.monotonicMs();
      this.#pump();
    }
    return entry;
  }

  /** Starts what is due, the most urgent first, and sets the timer for what is due next. */
  #pump(): void {
    this.#wake.abort();
    if (this.#stop.signal.aborted) return;
    const { clock, concurrency } = this.#options;
    const nowMs = clock.monotonicMs();
    const idle = [...this.#entries.values()].filter((entry) => !entry.underWay);
    const due = idle.filter((entry) => entry.dueMs <= nowMs).sort(byUrgency);
    for (const entry of due.slice(0, Math.max(0, concurrency - this.#running.size))) this.#start(entry);
    if (this.#running.size >= concurrency) return; // whoever ends pumps again
    const nextMs = idle.reduce(
      (min, entry) => (entry.underWay ? min : Math.min(min, entry.dueMs)),
      Number.POSITIVE_INFINITY,
    );
    if (nextMs === Number.POSITIVE_INFINITY) return;
    this.#wake = new AbortController();
    // A timer holds 24 days at most; pumping early does no harm.
    clock.sleep(Math.min(Math.max(nextMs - nowMs, 1), 86_400_000), this.#wake.signal).then(
      () => this.#pump(),
      () => undefined, // another timer took its place
    );
  }

  #start(entry: Entry): void {
    entry.underWay = true;
    const run = this.#fetch(entry).finally(() => {
      this.#running.delete(run);
      entry.underWay = false;
      this.#pump();
    });
    this.#running.add(run);
  }

  async #fetch(entry: Entry): Promise<void> {
    const { source, clock, log, random, onChange } = this.#options;
    const { identity } = entry;
    try {
      const svid = await source.fetch(identity, this.#stop.signal);
      if (this.#entries.get(identityUri(identity)) !== entry) return; // forgotten meanwhile
      Object.assign(entry, { svid, error: undefined, failures: 0, priority: 'Background' });
      entry.dueMs = clock.monotonicMs() + Math.max(1_000, renewalDelayMs(svid, clock.nowMs(), random()));
      entry.outcome.resolve(svid);
      entry.outcome = newOutcome();
      log.debug('certificate fetched', { identity: identityUri(identity), serial: svid.version });
      onChange?.(svid);
    } catch (cause) {
      if (this.#entries.get(identityUri(identity)) === entry) this.#failed(entry, cause);
    }
  }

  #failed(entry: Entry, cause: unknown): void {
    const { clock, log, random } = this.#options;
    const nowMs = clock.nowMs();
    const isServed = entry.svid?.isValidAt(nowMs) ?? false;
    entry.failures += 1;
    entry.priority = 'Background';
    const backoffMs = failureBackoffMs(entry.failures, random());
    const untilExpiryMs = isServed && entry.svid ? entry.svid.notAfterMs - nowMs : Number.POSITIVE_INFINITY;
    entry.dueMs = clock.monotonicMs() + Math.min(backoffMs, untilExpiryMs);
    const identity = identityUri(entry.identity);
    log.warn('certificate request failed', { identity, error: errorMessage(cause), retryMs: backoffMs, isServed });
    if (isServed) return;
    entry.error = new MeshError('ERR_IDENTITY', errorMessage(cause), { cause });
    entry.outcome.reject(entry.error);
    entry.outcome = newOutcome();
  }
}

function newOutcome(): PromiseWithResolvers<Svid> {
  const outcome = Promise.withResolvers<Svid>();
  outcome.promise.catch(() => undefined); // a prefetch that fails has nobody waiting
  return outcome;
}

function byUrgency(a: Entry, b: Entry): number {
  return RANK[a.priority] - RANK[b.priority] || a.turn - b.turn;
}

async function orAborted(work: Promise<Svid>, signal: AbortSignal): Promise<Svid> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(new MeshError('ERR_IDENTITY', 'gave up waiting for a certificate'));
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

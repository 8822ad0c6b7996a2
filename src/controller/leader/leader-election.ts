/**
 * Which replica writes: the one that holds a Lease. Every replica serves and signs, whoever leads.
 *
 * Invariants
 *  - Two never lead at once as long as their clocks run equally fast: who could not renew for `RENEW_DEADLINE_MS` has
 *    stopped leading before anybody else may take the lease.
 *  - Disposing gives the lease back; another replica has it within a retry.
 */
import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { NamespacedName } from '../../model/address.ts';
import type { ObjectAccess } from '../object-access.ts';
import {
  givenBack,
  heldBy,
  type Lease,
  type LeaseSpec,
  nextLeaseStep,
  type Observed,
  observe,
} from './lease-record.ts';

/** Whether this replica may write now, and word of changes. */
export interface Leadership {
  readonly leading: boolean;
  /** Calls back at once and after every change. */
  subscribe(listener: () => void): Disposable;
}

/** For a control plane that is alone: it leads for ever. */
export const ALWAYS_LEADING: Leadership = {
  leading: true,
  subscribe(listener) {
    listener();
    return { [Symbol.dispose]() {} };
  },
};

export interface LeaderElectionOptions {
  readonly objects: ObjectAccess;
  readonly lease: NamespacedName;
  /** Of this replica; no two have the same. */
  readonly identity: string;
  readonly clock: Clock;
  readonly log: Logger;
}

const LEASE = { group: 'coordination.k8s.io', kind: 'Lease' };
const RETRY_MS = 2_000;
const CALL_MS = 5_000;
/** Half of the time after which another may take the lease. */
const RENEW_DEADLINE_MS = 15_000;

export class LeaderElection implements Leadership, AsyncDisposable {
  readonly #options: LeaderElectionOptions;
  readonly #listeners = new Set<() => void>();
  readonly #abort = new AbortController();
  readonly #running: Promise<void>;
  #observed: Observed | undefined;
  /** When the last renewal that succeeded was begun; undefined when not held. */
  #heldSinceMs: number | undefined;
  #told = false;
  #attempt = 0;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  get leading(): boolean {
    const { clock } = this.#options;
    return this.#heldSinceMs !== undefined && clock.monotonicMs() - this.#heldSinceMs < RENEW_DEADLINE_MS;
  }

  subscribe(listener: () => void): Disposable {
    this.#listeners.add(listener);
    listener();
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#running;
    if (this.#heldSinceMs === undefined) return;
    this.#heldSinceMs = undefined;
    this.#tell();
    const givingBack = this.#giveBack().catch((error: unknown) => {
      this.#options.log.warn('lease not given back; it runs out', { error: errorMessage(error) });
    });
    await this.#atMost(givingBack);
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#abort;
    while (!signal.aborted) {
      this.#attempt += 1;
      const call = this.#try(this.#attempt).catch((error: unknown) => {
        if (!signal.aborted) log.warn('lease not renewed', { leading: this.leading, error: errorMessage(error) });
      });
      await this.#atMost(call, signal);
      this.#tell();
      await clock.sleep(RETRY_MS, signal).catch(() => undefined); // rejects when disposed
    }
    this.#attempt += 1; // what a late answer says no longer counts
  }

  /** Waits for a call, but not for one that hangs: `leading` runs out meanwhile. */
  async #atMost(call: Promise<void>, signal?: AbortSignal): Promise<void> {
    const over = new AbortController();
    const limit = this.#options.clock.sleep(CALL_MS, signal ? AbortSignal.any([signal, over.signal]) : over.signal);
    await Promise.race([call, limit.catch(() => undefined)]);
    over.abort();
  }

  async #try(attempt: number): Promise<void> {
    const { objects, lease: key, identity, clock } = this.#options;
    const lease = (await objects.readObject(LEASE, key)) as Lease | undefined;
    const beganMs = clock.monotonicMs();
    this.#observed = observe(this.#observed, lease, beganMs);
    const step = nextLeaseStep(lease, identity, this.#observed, beganMs);
    if (step === 'wait') {
      if (attempt === this.#attempt) this.#heldSinceMs = undefined;
      return;
    }
    const spec = heldBy(identity, lease?.spec, microTime(clock.nowMs()));
    const done = lease
      ? await objects.replaceObject(withSpec(lease, spec))
      : await objects.createObject(newLease(key, spec));
    if (attempt === this.#attempt) this.#heldSinceMs = done ? beganMs : undefined; // somebody was faster: look again
  }

  async #giveBack(): Promise<void> {
    const { objects, lease: key, identity, clock } = this.#options;
    const lease = (await objects.readObject(LEASE, key)) as Lease | undefined;
    if (lease?.spec?.holderIdentity !== identity) return;
    await objects.replaceObject(withSpec(lease, givenBack(lease.spec, microTime(clock.nowMs()))));
  }

  #tell(): void {
    const { leading } = this;
    if (leading === this.#told) return;
    this.#told = leading;
    const { log, identity } = this.#options;
    log.info(leading ? 'this replica writes now' : 'this replica no longer writes', { identity });
    for (const listener of [...this.#listeners]) listener();
  }
}

function newLease({ namespace, name }: NamespacedName, spec: LeaseSpec): Lease {
  return { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { namespace, name }, spec };
}

function withSpec(lease: Lease, spec: LeaseSpec): Lease {
  return { ...lease, spec };
}

/** RFC 3339 with microseconds, the form of a Lease's times. */
function microTime(nowMs: number): string {
  return new Date(nowMs).toISOString().replace('Z', '000Z');
}

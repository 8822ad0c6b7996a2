/**
 * Lets a new connection wait for a policy that its workload lists and that is not known yet: lists and policies come in
 * separate responses, in an order that belongs to the control plane, and after a reconnect there may be time in between.
 *
 * Guarantees
 *  - Nothing is let through that would not be otherwise: who has waited in vain is judged as ever, and denied.
 *  - A wait takes UNKNOWN_POLICY_GRACE_MS at most. A policy that did not come in that time is not waited for again for
 *    OVERDUE_MS, so that a list that stays wrong does not hold up every connection.
 *  - Bounded: beyond WAITS_MAX nobody waits.
 */
import type { Clock } from '../core/clock.ts';
import type { Workload } from '../model/workload.ts';
import type { MeshState } from './state/mesh-state.ts';

/** The two responses follow each other in milliseconds, on a busy machine in a second. */
export const UNKNOWN_POLICY_GRACE_MS = 2_000;
const OVERDUE_MS = 10_000;
const WAITS_MAX = 10_000;

export interface PolicyWaitDeps {
  readonly state: Pick<MeshState, 'findWorkload' | 'policiesFor' | 'subscribe'>;
  readonly clock: Clock;
}

export class PolicyWait {
  readonly #deps: PolicyWaitDeps;
  readonly #waiters = new Set<() => void>();
  /** Policies that were waited for in vain, and until when they are not waited for again. */
  readonly #overdueUntilMs = new Map<string, number>();

  constructor(deps: PolicyWaitDeps, signal: AbortSignal) {
    this.#deps = deps;
    const wake = (): void => {
      for (const waiter of [...this.#waiters]) waiter();
    };
    const unsubscribe = deps.state.subscribe({ policiesChanged: wake, workloadChanged: wake });
    signal.addEventListener('abort', unsubscribe, { once: true });
  }

  /** Resolves with the workload as it is once all it lists is known, or the wait is over. Never rejects. */
  async settle(workload: Workload, signal: AbortSignal): Promise<Workload> {
    if (this.#awaited(workload).length === 0 || this.#waiters.size >= WAITS_MAX) return workload;
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter = (): void => {
      if (this.#awaited(this.#current(workload)).length === 0) resolve();
    };
    const timer = new AbortController();
    this.#waiters.add(waiter);
    this.#deps.clock.sleep(UNKNOWN_POLICY_GRACE_MS, AbortSignal.any([timer.signal, signal])).then(
      () => {
        this.#giveUp(this.#current(workload));
        resolve();
      },
      () => resolve(), // settled, or the connection is gone
    );
    await promise;
    this.#waiters.delete(waiter);
    timer.abort();
    return this.#current(workload);
  }

  #current(workload: Workload): Workload {
    return this.#deps.state.findWorkload(workload.uid) ?? workload;
  }

  #awaited(workload: Workload): readonly string[] {
    if (workload.authorizationPolicies.length === 0) return [];
    const nowMs = this.#deps.clock.monotonicMs();
    const { unknown } = this.#deps.state.policiesFor(workload);
    return unknown.filter((name) => (this.#overdueUntilMs.get(name) ?? 0) <= nowMs);
  }

  #giveUp(workload: Workload): void {
    const nowMs = this.#deps.clock.monotonicMs();
    for (const [name, untilMs] of this.#overdueUntilMs) if (untilMs <= nowMs) this.#overdueUntilMs.delete(name);
    for (const name of this.#awaited(workload)) this.#overdueUntilMs.set(name, nowMs + OVERDUE_MS);
  }
}

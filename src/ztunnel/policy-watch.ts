/**
 * Judges open inbound connections again when policy changes, and has those cut that are forbidden now.
 *
 * Guarantees
 *  - A connection is judged by what it was when accepted (identity, addresses) and by the policies that its workload
 *    lists now.
 *  - A connection whose only fault is a listed policy that is not known yet gets `UNKNOWN_POLICY_GRACE_MS`: lists and
 *    policies come in separate responses. New connections wait as long before they are accepted.
 */
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { ConnectionId } from '../engine/index.ts';
import { authorize } from '../model/authorize.ts';
import type { Workload } from '../model/workload.ts';
import type { PolicySubject } from './connection-record.ts';
import type { ConnectionTable } from './connection-table.ts';
import { UNKNOWN_POLICY_GRACE_MS } from './policy-wait.ts';
import type { MeshState } from './state/mesh-state.ts';

export const POLICY_CHANGE = 'connection closed due to policy change';

export interface PolicyWatchDeps {
  readonly state: MeshState;
  readonly table: ConnectionTable;
  readonly cut: (id: ConnectionId) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Works until `signal` aborts. */
export class PolicyWatch {
  readonly #deps: PolicyWatchDeps;
  readonly #signal: AbortSignal;
  #isGraceRunning = false;

  constructor(deps: PolicyWatchDeps, signal: AbortSignal) {
    this.#deps = deps;
    this.#signal = signal;
    const unsubscribe = deps.state.subscribe({
      policiesChanged: () => this.#judgeAll(() => true),
      workloadChanged: (previous, current) => {
        if (!current || hasSamePolicies(previous, current)) return;
        this.#judgeAll(({ workload }) => workload.uid === current.uid);
      },
    });
    signal.addEventListener('abort', unsubscribe, { once: true });
  }

  #judgeAll(concerns: (subject: PolicySubject) => boolean, isGraceOver = false): void {
    const { state, table, cut, log } = this.#deps;
    let needsGrace = false;
    for (const { id, policy } of [...table.judged()]) {
      if (!concerns(policy)) continue;
      const workload = state.findWorkload(policy.workload.uid) ?? policy.workload;
      const verdict = authorize(state.policiesFor(workload), policy.facts);
      if (verdict.allowed) continue;
      if (verdict.cause === 'unknown-policy' && !isGraceOver) {
        needsGrace = true;
        continue;
      }
      log.debug('connection is forbidden now', { connection: id, policy: verdict.by, reason: verdict.reason });
      cut(id);
    }
    if (needsGrace) this.#judgeAfterGrace();
  }

  #judgeAfterGrace(): void {
    if (this.#isGraceRunning) return;
    this.#isGraceRunning = true;
    this.#deps.clock.sleep(UNKNOWN_POLICY_GRACE_MS, this.#signal).then(
      () => {
        this.#isGraceRunning = false;
        this.#judgeAll(() => true, true);
      },
      () => {}, // shutting down
    );
  }
}

function hasSamePolicies(a: Workload | undefined, b: Workload): boolean {
  if (!a || a.namespace !== b.namespace) return false;
  const [before, after] = [a.authorizationPolicies, b.authorizationPolicies];
  return before.length === after.length && before.every((name, index) => name === after[index]);
}

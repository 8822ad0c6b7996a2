/**
 * Who may write for all replicas, judged from a Lease: what to do with it next. Pure.
 *
 * Invariants
 *  - Times in the record are never compared with an own clock, which may be wrong: a holder counts as gone when its
 *    record has not changed for the time it promised, watched on the own clock.
 *  - Who gives the lease back empties the holder, so that the next does not wait.
 * Source: Kubernetes coordination.k8s.io/v1 Lease, as client-go's leader election uses it.
 */
import type { KubeObject } from '../../kube/index.ts';

export interface LeaseSpec {
  readonly holderIdentity?: string | undefined;
  readonly leaseDurationSeconds?: number | undefined;
  readonly acquireTime?: string | undefined;
  readonly renewTime?: string | undefined;
  readonly leaseTransitions?: number | undefined;
}

export type Lease = KubeObject & { readonly spec?: LeaseSpec };

/** The record as it was last seen to change. */
export interface Observed {
  readonly record: string;
  /** Of the monotonic clock. */
  readonly sinceMs: number;
}

export type LeaseStep = 'create' | 'renew' | 'take' | 'wait';

/** How long a holder that says nothing counts as alive. */
export const LEASE_SECONDS = 30;

/** Remembers when a record was first seen as it is. */
export function observe(before: Observed | undefined, lease: Lease | undefined, nowMs: number): Observed {
  const record = JSON.stringify(lease?.spec ?? {});
  return before?.record === record ? before : { record, sinceMs: nowMs };
}

export function nextLeaseStep(
  lease: Lease | undefined,
  identity: string,
  observed: Observed,
  nowMs: number,
): LeaseStep {
  if (!lease) return 'create';
  const { holderIdentity = '', leaseDurationSeconds = LEASE_SECONDS } = lease.spec ?? {};
  if (holderIdentity === identity) return 'renew';
  if (holderIdentity === '') return 'take';
  return nowMs - observed.sinceMs >= leaseDurationSeconds * 1_000 ? 'take' : 'wait';
}

/** The record of a holder. `now` is RFC 3339 with microseconds. */
export function heldBy(identity: string, before: LeaseSpec | undefined, now: string): LeaseSpec {
  const same = before?.holderIdentity === identity;
  const transitions = before?.leaseTransitions ?? 0;
  return {
    holderIdentity: identity,
    leaseDurationSeconds: LEASE_SECONDS,
    acquireTime: (same ? before.acquireTime : undefined) ?? now,
    renewTime: now,
    leaseTransitions: same || before === undefined ? transitions : transitions + 1,
  };
}

/** The record of nobody. */
export function givenBack(before: LeaseSpec, now: string): LeaseSpec {
  return { ...before, holderIdentity: '', leaseDurationSeconds: 1, renewTime: now };
}

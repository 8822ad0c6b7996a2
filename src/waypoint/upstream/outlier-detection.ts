/**
 * Which endpoints are set aside because they fail. State is kept for each endpoint of a service while it is configured.
 *
 * Invariants
 *  - Each further ejection lasts longer, by the number of them; a while without failures takes one back.
 *  - Never more than `maxEjectionPercent` of the endpoints are out (one always may be), and none once the share of healthy
 *    ones is below `minHealthPercent`: then all are used.
 * Source: Envoy outlier detection, as far as Istio uses it (consecutive failures).
 */
import type { OutlierDetection } from '../../model/l7/index.ts';

export interface Ejectable {
  /** On the monotonic clock. */
  ejectedUntilMs: number;
  readonly failures: FailureCounts;
}

export class FailureCounts {
  consecutive5xx = 0;
  consecutiveGateway = 0;
  consecutiveLocal = 0;
  ejections = 0;
  lastEjectionMs = Number.NEGATIVE_INFINITY;
}

/** What became of one try. `LOCAL` is our own failure to connect, `OK` any answer below 500. */
export type TryResult = 'OK' | 'SERVER_ERROR' | 'GATEWAY_ERROR' | 'LOCAL';

export function resultOf(status: number): TryResult {
  if (status < 500) return 'OK';
  return status === 502 || status === 503 || status === 504 ? 'GATEWAY_ERROR' : 'SERVER_ERROR';
}

/** Counts; true when the endpoint is now out. */
export function noteResult(
  endpoint: Ejectable,
  result: TryResult,
  {
    policy,
    all,
    nowMs,
  }: { readonly policy: OutlierDetection; readonly all: readonly Ejectable[]; readonly nowMs: number },
): boolean {
  const { failures } = endpoint;
  count(failures, result, policy);
  if (!isOverLimit(failures, policy) || endpoint.ejectedUntilMs > nowMs) return false;
  const out = all.filter(({ ejectedUntilMs }) => ejectedUntilMs > nowMs).length;
  const isAllowed = out === 0 || ((out + 1) * 100) / all.length <= policy.maxEjectionPercent;
  const healthyShare = ((all.length - out) * 100) / Math.max(1, all.length);
  if (!isAllowed || healthyShare < policy.minHealthPercent) return false;
  const quietMs = nowMs - failures.lastEjectionMs;
  const forgiven = Number.isFinite(quietMs) ? Math.floor(quietMs / Math.max(1, policy.baseEjectionMs * 2)) : 0;
  failures.ejections = Math.max(0, failures.ejections - forgiven) + 1;
  failures.lastEjectionMs = nowMs;
  failures.consecutive5xx = 0;
  failures.consecutiveGateway = 0;
  failures.consecutiveLocal = 0;
  endpoint.ejectedUntilMs = nowMs + policy.baseEjectionMs * failures.ejections;
  return true;
}

function count(failures: FailureCounts, result: TryResult, { splitLocalOrigin }: OutlierDetection): void {
  if (result === 'OK') {
    failures.consecutive5xx = 0;
    failures.consecutiveGateway = 0;
    failures.consecutiveLocal = 0;
    return;
  }
  if (result === 'LOCAL' && splitLocalOrigin) {
    failures.consecutiveLocal += 1;
    return;
  }
  failures.consecutive5xx += 1;
  if (result === 'SERVER_ERROR') failures.consecutiveGateway = 0;
  else failures.consecutiveGateway += 1;
}

function isOverLimit(failures: FailureCounts, policy: OutlierDetection): boolean {
  const over = (value: number, limit: number): boolean => limit > 0 && value >= limit;
  return (
    over(failures.consecutive5xx, policy.consecutive5xx) ||
    over(failures.consecutiveGateway, policy.consecutiveGatewayErrors) ||
    over(failures.consecutiveLocal, policy.consecutiveLocalOriginFailures)
  );
}

/** Those that may be used: with too few healthy ones left, all of them. */
export function withoutEjected<E extends Ejectable>(
  endpoints: readonly E[],
  policy: OutlierDetection | undefined,
  nowMs: number,
): readonly E[] {
  if (!endpoints.some(({ ejectedUntilMs }) => ejectedUntilMs > nowMs)) return endpoints;
  const healthy = endpoints.filter(({ ejectedUntilMs }) => ejectedUntilMs <= nowMs);
  const share = (healthy.length * 100) / endpoints.length;
  return share < (policy?.minHealthPercent ?? 0) ? endpoints : healthy;
}

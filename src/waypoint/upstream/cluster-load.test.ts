import test from 'ava';
import { DEFAULT_CONNECTION_POOL, DEFAULT_TRAFFIC_POLICY, type TrafficPolicy } from '../../model/l7/index.ts';
import { ClusterLoad } from './cluster-load.ts';

function policy(pool: Partial<TrafficPolicy['connectionPool']>, rest: Partial<TrafficPolicy> = {}): TrafficPolicy {
  return { ...DEFAULT_TRAFFIC_POLICY, connectionPool: { ...DEFAULT_CONNECTION_POOL, ...pool }, ...rest };
}

function load(requests: number, retries = 0, connections = 0): ClusterLoad {
  return Object.assign(new ClusterLoad(), { requests, retries, connections });
}

test('without limits everything may go', (t) => {
  const busy = load(10_000, 10_000, 10_000);
  t.true(busy.mayRequest(policy({}), true) && busy.mayRetry(policy({})) && busy.mayConnect(policy({})));
});

test('requests up to http2MaxRequests', (t) => {
  t.true(load(1).mayRequest(policy({ maxRequests: 2 }), false));
  t.false(load(2).mayRequest(policy({ maxRequests: 2 }), false));
});

test('HTTP/1 requests wait for a connection up to http1MaxPendingRequests', (t) => {
  const limits = policy({ maxConnections: 2, maxPendingRequests: 1 });
  t.true(load(2).mayRequest(limits, true));
  t.false(load(3).mayRequest(limits, true));
  t.true(load(3).mayRequest(limits, false));
});

test('retries up to maxRetries, or to the budget in its place', (t) => {
  t.false(load(10, 3).mayRetry(policy({ maxRetries: 3 })));
  const budget = { retryBudget: { percent: 20, minConcurrency: 3 } };
  t.true(load(100, 19).mayRetry(policy({ maxRetries: 1 }, budget)));
  t.false(load(100, 20).mayRetry(policy({}, budget)));
  t.true(load(1, 2).mayRetry(policy({}, budget)));
});

test('connections up to maxConnections', (t) => {
  t.true(load(0, 0, 1).mayConnect(policy({ maxConnections: 2 })));
  t.false(load(0, 0, 2).mayConnect(policy({ maxConnections: 2 })));
});

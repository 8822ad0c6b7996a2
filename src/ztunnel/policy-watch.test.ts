import test from 'ava';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { policy, workload } from '../../test/support/mesh-objects.ts';
import { silentLogger } from '../core/logger.ts';
import type { Workload } from '../model/workload.ts';
import type { ConnectionTable } from './connection-table.ts';
import { PolicyWatch } from './policy-watch.ts';
import { MeshState } from './state/mesh-state.ts';

const listing = (...authorizationPolicies: string[]): Workload => workload({ name: 'server', authorizationPolicies });

function watch() {
  const clock = new ManualClock();
  const state = new MeshState({ node: undefined, clock });
  const cut: number[] = [];
  const facts = { identity: undefined, sourceIp: '10.0.0.9', destinationIp: '10.0.0.1', destinationPort: 80 };
  const judged = [{ id: 7, policy: { facts, workload: listing() } }];
  const table = { judged: () => judged.values() } as unknown as ConnectionTable; // all that the watch asks for
  const stop = new AbortController();
  new PolicyWatch({ state, table, cut: (id) => cut.push(id), clock, log: silentLogger }, stop.signal);
  const list = (...names: string[]): void => {
    state.applyAddresses({ updates: [{ kind: 'workload', workload: listing(...names) }], removed: [] });
  };
  list();
  return { clock, state, cut, stop, list };
}
const deny = policy({ name: 'deny', action: 'DENY', scope: 'WORKLOAD_SELECTOR' });

test('a new policy that denies cuts at once', (t) => {
  const { state, cut } = watch();
  state.applyPolicies({ updates: [{ ...deny, scope: 'GLOBAL' }], removed: [] });
  t.deepEqual(cut, [7]);
});

test('a policy of others cuts nothing', (t) => {
  const { state, cut } = watch();
  state.applyPolicies({
    updates: [deny, policy({ name: 'x', action: 'DENY', scope: 'NAMESPACE', namespace: 'y' })],
    removed: [],
  });
  t.deepEqual(cut, []);
});

test('the present list of the workload counts, not the one of when it was accepted', (t) => {
  const { state, cut, list } = watch();
  state.applyPolicies({ updates: [deny], removed: [] });
  t.deepEqual(cut, []);
  list('default/deny');
  t.deepEqual(cut, [7]);
});

test('a listed policy that is not known yet gets a moment to come', async (t) => {
  const { clock, state, cut, list } = watch();
  list('default/later');
  t.deepEqual(cut, []);
  state.applyPolicies({ updates: [policy({ name: 'later', scope: 'WORKLOAD_SELECTOR' })], removed: [] });
  await clock.advance(2_000);
  t.deepEqual(cut, []);
});

test('a listed policy that stays unknown cuts in the end', async (t) => {
  const { clock, cut, list } = watch();
  list('default/never');
  await clock.advance(1_999);
  t.deepEqual(cut, []);
  await clock.advance(1);
  t.deepEqual(cut, [7]);
});

test('after the end nothing is judged', (t) => {
  const { state, cut, stop } = watch();
  stop.abort();
  state.applyPolicies({ updates: [{ ...deny, scope: 'GLOBAL' }], removed: [] });
  t.deepEqual(cut, []);
});

import test from 'ava';
import { ManualClock, settled } from '../../test/support/manual-clock.ts';
import { policy, workload } from '../../test/support/mesh-objects.ts';
import type { Workload } from '../model/workload.ts';
import { PolicyWait, UNKNOWN_POLICY_GRACE_MS } from './policy-wait.ts';
import { MeshState } from './state/mesh-state.ts';

const listing = (...authorizationPolicies: string[]): Workload => workload({ name: 'server', authorizationPolicies });
const never = new AbortController().signal;

function start() {
  const clock = new ManualClock();
  const state = new MeshState({ node: undefined, clock });
  const stop = new AbortController();
  const wait = new PolicyWait({ state, clock }, stop.signal);
  const list = (...names: string[]): Workload => {
    const server = listing(...names);
    state.applyAddresses({ updates: [{ kind: 'workload', workload: server }], removed: [] });
    return server;
  };
  const add = (name: string): void => {
    state.applyPolicies({ updates: [policy({ name, scope: 'WORKLOAD_SELECTOR' })], removed: [] });
  };
  /** Whether a new connection waits; what it is judged by when it does no more. */
  const connect = async (to: Workload, signal = never) => {
    const seen: { workload: Workload | undefined } = { workload: undefined };
    void wait.settle(to, signal).then((found) => {
      seen.workload = found;
    });
    await settled();
    return seen;
  };
  return { clock, state, list, add, connect };
}

test('who lists nothing, or only what is known, does not wait', async (t) => {
  const { clock, list, add, connect } = start();
  t.truthy((await connect(list())).workload);
  add('p');
  t.truthy((await connect(list('default/p'))).workload);
  t.is(clock.sleepers, 0);
});

test('a listed policy that comes ends the wait', async (t) => {
  const { clock, list, add, connect } = start();
  const connection = await connect(list('default/later'));
  t.is(connection.workload, undefined);
  add('other');
  await settled();
  t.is(connection.workload, undefined, 'another policy does not');
  add('later');
  await settled();
  t.truthy(connection.workload);
  t.is(clock.sleepers, 0);
});

test('a policy that was removed first is not listed any more soon after', async (t) => {
  const { list, add, state, connect } = start();
  add('gone');
  const listed = list('default/gone');
  state.applyPolicies({ updates: [], removed: ['default/gone'] });
  const connection = await connect(listed);
  t.is(connection.workload, undefined);
  list();
  await settled();
  t.deepEqual(connection.workload?.authorizationPolicies, [], 'judged by the list of now');
});

test('the wait is bounded, and a policy that does not come is not waited for by all who follow', async (t) => {
  const { clock, list, connect } = start();
  const server = list('default/never');
  const first = await connect(server);
  await clock.advance(UNKNOWN_POLICY_GRACE_MS - 1);
  t.is(first.workload, undefined);
  await clock.advance(1);
  t.is(first.workload, server, 'still listed, still unknown: it will be denied');
  t.truthy((await connect(server)).workload, 'the next one is not held up');
  await clock.advance(10_000);
  t.is((await connect(server)).workload, undefined, 'later it is tried again');
});

test('a connection that ends meanwhile leaves nothing behind', async (t) => {
  const { clock, list, connect } = start();
  const abort = new AbortController();
  const connection = await connect(list('default/later'), abort.signal);
  abort.abort();
  await settled();
  t.truthy(connection.workload);
  t.is(clock.sleepers, 0);
});

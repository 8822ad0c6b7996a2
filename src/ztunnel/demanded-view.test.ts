import test from 'ava';
import { ManualClock, settled } from '../../test/support/manual-clock.ts';
import { gatewayNamed, service, vip, workload } from '../../test/support/mesh-objects.ts';
import { MeshError } from '../core/errors.ts';
import { findByAddress } from '../model/waypoint.ts';
import { type Demand, DemandedView } from './demanded-view.ts';
import { planOutbound } from './outbound-plan.ts';
import { type Address, MeshState } from './state/mesh-state.ts';

const KEY = 'default/waypoint.default.svc.cluster.local';
const source = workload({ name: 'client', addresses: ['10.0.0.9'] });
const query = {
  source,
  sourceIp: '10.0.0.9',
  destination: { ip: '10.96.0.1', port: 80 },
  network: '',
  illegalPorts: new Set<number>(),
};
const signal = new AbortController().signal;

/** A control plane that knows `resources` by the name they are asked for. */
function setUp(resources: Readonly<Record<string, Address>>, answer?: Demand) {
  const clock = new ManualClock();
  const state = new MeshState({ node: undefined, clock });
  const asked: string[] = [];
  const demand: Demand = async (name) => {
    asked.push(name);
    const update = resources[name];
    if (update) state.applyAddresses({ updates: [update], removed: [] });
  };
  const demanded = new DemandedView({ view: state, clock, demand: answer ?? demand });
  const plan = () => demanded.plan((view) => planOutbound(view, query, () => 0), signal);
  return { clock, state, asked, demanded, plan };
}
const server = service({
  name: 'server',
  addresses: [vip('10.96.0.1')],
  waypoint: gatewayNamed('default', 'waypoint.default.svc.cluster.local'),
});
const known = {
  '/10.96.0.1': { kind: 'service', service: server },
  [KEY]: { kind: 'workload', workload: workload({ name: 'waypoint', hostname: KEY.slice(8) }) },
} as const;

test('one answer leads to the next question, and what is known is not asked again', async (t) => {
  const { plan, asked } = setUp(known);
  t.like(await plan(), { kind: 'hbone', hop: { port: 15_008 }, authority: { text: '10.96.0.1:80' } });
  t.deepEqual(asked, ['/10.96.0.1', KEY]);
  await plan();
  t.is(asked.length, 2);
});
test('what there is not is asked once per plan', async (t) => {
  const { plan, asked } = setUp({});
  t.like(await plan(), { kind: 'passthrough' });
  t.deepEqual(asked, ['/10.96.0.1']);
});
test('a known block does not hide a service of one address', async (t) => {
  const block = service({ name: 'block', addresses: [vip('10.96.0.0', 16)] });
  const { demanded, state } = setUp(known);
  state.applyAddresses({ updates: [{ kind: 'service', service: block }], removed: [] });
  const found = await demanded.plan((view) => findByAddress(view, { network: '', ip: '10.96.0.1' }, 'default'), signal);
  t.like(found, { kind: 'service', service: { name: 'server' } });
});
test('a host name is asked for in its own namespace', async (t) => {
  const { demanded, asked } = setUp({});
  await demanded.plan((view) => view.servicesByHostname('a.shop.svc.cluster.local'), signal);
  await demanded.plan((view) => view.servicesByHostname('example.org'), signal);
  t.deepEqual(asked, ['shop/a.shop.svc.cluster.local']);
});

/** Answers nothing until the wait is given up. */
const silent: Demand = (name, until) =>
  new Promise((_, reject) => {
    until.addEventListener('abort', () => reject(new MeshError('ERR_ABORTED', name)), { once: true });
  });
test('without an answer there is no plan', async (t) => {
  const { plan, clock } = setUp({}, silent);
  const planned = plan();
  let isSettled = false;
  planned
    .catch(() => {})
    .finally(() => {
      isSettled = true;
    });
  await clock.advance(4_999);
  t.false(isSettled);
  await clock.advance(1);
  await t.throwsAsync(planned, { code: 'ERR_TIMEOUT', message: 'no answer from the control plane on /10.96.0.1' });
  t.is(clock.sleepers, 0);
});
test('a connection that ends gives its plan up', async (t) => {
  const { demanded, clock } = setUp({}, silent);
  const gone = new AbortController();
  const planned = demanded.plan((view) => planOutbound(view, query, () => 0), gone.signal);
  gone.abort();
  await t.throwsAsync(planned, { code: 'ERR_ABORTED' });
  t.is(clock.sleepers, 0);
});
test('a refused resource is no answer', async (t) => {
  const { plan } = setUp({}, () => Promise.reject(new MeshError('ERR_MALFORMED', 'bad')));
  await t.throwsAsync(plan(), { code: 'ERR_MALFORMED' });
});
test('who is only a label is not waited for long, and is not needed', async (t) => {
  const { demanded, clock } = setUp({}, silent);
  const labelled = demanded.label('', '10.0.0.1', signal);
  await settled();
  await clock.advance(1_000);
  await labelled;
  t.is(clock.sleepers, 0);
});
test('questions without end are given up', async (t) => {
  const { demanded } = setUp({});
  let round = 0;
  const planned = demanded.plan((view) => view.findWorkload(`w${round++}`), signal);
  await t.throwsAsync(planned, { code: 'ERR_LIMIT' });
  t.is(round, 8);
});

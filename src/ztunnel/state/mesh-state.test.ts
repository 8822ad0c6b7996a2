import test from 'ava';
import fc from 'fast-check';
import { ManualClock, settled } from '../../../test/support/manual-clock.ts';
import { memberOf, policy, service, vip, workload } from '../../../test/support/mesh-objects.ts';
import type { Service } from '../../model/service.ts';
import { findServiceByHostname, findServiceByVip } from '../../model/service-lookup.ts';
import type { Workload } from '../../model/workload.ts';
import { type Address, MeshState } from './mesh-state.ts';

const asWorkload = (value: Workload): Address => ({ kind: 'workload', workload: value });
const asService = (value: Service): Address => ({ kind: 'service', service: value });
function stateWith(...updates: Address[]): MeshState {
  const state = new MeshState({ node: 'n1', clock: new ManualClock() });
  state.applyAddresses({ updates, removed: [] });
  return state;
}
const uids = (state: MeshState, key: string): string[] => Array.from(state.endpoints(key), (e) => e.workloadUid).sort();

const KEY = 'default/web.default.svc.cluster.local';
const web = service({ name: 'web', addresses: [vip('10.96.0.1')] });
const a = workload({ name: 'a', addresses: ['10.0.0.1'], services: memberOf({ [KEY]: { 80: 8080 } }) });
const b = workload({ name: 'b', addresses: ['10.0.0.2'], services: memberOf({ [KEY]: { 80: 8080 } }) });
const sick = { ...b, status: 'UNHEALTHY' as const };
const allowAll: Service = { ...web, loadBalancing: { ...web.loadBalancing, healthPolicy: 'ALLOW_ALL' } };

test('services and workloads may come in any order', (t) => {
  for (const updates of [
    [asWorkload(a), asService(web), asWorkload(b)],
    [asService(web), asWorkload(a), asWorkload(b)],
    [asWorkload(a), asWorkload(b), asService(web)],
  ]) {
    t.deepEqual(uids(stateWith(...updates), KEY), [a.uid, b.uid]);
  }
});

test('endpoints of an unknown service are staged until it comes and leave with their workload', (t) => {
  const state = stateWith(asWorkload(a));
  t.deepEqual([...state.services.stagedKeys()], [KEY]);
  state.applyAddresses({ updates: [], removed: [a.uid] });
  t.deepEqual([...state.services.stagedKeys()], []);
});

test('an unhealthy workload is no endpoint unless its service allows all', (t) => {
  const state = stateWith(asService(web), asWorkload(sick));
  t.deepEqual(uids(state, KEY), []);
  state.applyAddresses({ updates: [asService(allowAll)], removed: [] });
  t.deepEqual(uids(state, KEY), [b.uid]);
  state.applyAddresses({ updates: [asService(web)], removed: [] });
  t.deepEqual(uids(state, KEY), []);
  state.applyAddresses({ updates: [asWorkload(b)], removed: [] });
  t.deepEqual(uids(state, KEY), [b.uid]);
});

test('an update removes what the workload no longer has', (t) => {
  const state = stateWith(asService(web), asWorkload(a));
  state.applyAddresses({ updates: [asWorkload({ ...a, addresses: ['10.0.0.9'], services: new Map() })], removed: [] });
  t.is(state.findWorkloadByAddress('', '10.0.0.1'), undefined);
  t.is(state.findWorkloadByAddress('', '10.0.0.9')?.uid, a.uid);
  t.deepEqual(uids(state, KEY), []);
});

test('names that were never known are removed without effect', (t) => {
  const state = stateWith(asService(web), asWorkload(a));
  state.applyAddresses({ updates: [], removed: ['', 'x', 'default/other', 'default/a/b', `${KEY}/x`] });
  t.deepEqual(uids(state, KEY), [a.uid]);
});

test('a workload updated and removed in one batch is gone', (t) => {
  const state = stateWith(asService(web));
  state.applyAddresses({ updates: [asWorkload(a)], removed: [a.uid] });
  t.is(state.findWorkload(a.uid), undefined);
  t.deepEqual(uids(state, KEY), []);
});

test('of two owners of an address the pod with HBONE is found, then the other', (t) => {
  const entry = workload({ name: 'entry', uid: 'cluster1/networking.istio.io/WorkloadEntry/default/entry' });
  const plain = workload({ name: 'plain', tunnelProtocol: 'NONE' });
  const state = stateWith(asWorkload(entry), asWorkload(plain), asWorkload(a));
  t.is(state.findWorkloadByAddress('', '10.0.0.1')?.uid, a.uid);
  state.applyAddresses({ updates: [], removed: [a.uid] });
  t.is(state.findWorkloadByAddress('', '10.0.0.1')?.uid, plain.uid);
  state.applyAddresses({ updates: [], removed: [plain.uid] });
  t.is(state.findWorkloadByAddress('', '10.0.0.1')?.uid, entry.uid);
});

test('the network is part of an address', (t) => {
  const state = stateWith(asWorkload({ ...a, network: 'remote' }), asService(web));
  t.is(state.findWorkloadByAddress('', '10.0.0.1'), undefined);
  t.is(state.findWorkloadByAddress('remote', '10.0.0.1')?.uid, a.uid);
  t.deepEqual(state.servicesByVip('remote', '10.96.0.1'), []);
});

test('a workload on the host network is not found by address', (t) => {
  t.is(stateWith(asWorkload({ ...a, networkMode: 'HOST_NETWORK' })).findWorkloadByAddress('', '10.0.0.1'), undefined);
});

// --- service lookup --------------------------------------------------------------------------------------------------

const inNs = (namespace: string, fields: Partial<Parameters<typeof service>[0]> = {}): Service =>
  service({ name: 'web', namespace, addresses: [vip('10.96.0.1')], ...fields });
const findsVip = test.macro((t, services: Service[], ip: string, client: string | undefined, expected?: string) => {
  const state = stateWith(...services.map(asService));
  t.is(findServiceByVip(state, { network: '', ip }, { namespace: client })?.namespace, expected);
});
const hidden = { visibility: 'NAMESPACE' as const };
const block = (ip: string, length: number) => ({ addresses: [vip(ip, length)] });

test("a shared VIP prefers the client's namespace", findsVip, [inNs('n1'), inNs('n2')], '10.96.0.1', 'n2', 'n2');
test('then the canonical service', findsVip, [inNs('n1'), inNs('n2', { canonical: true })], '10.96.0.1', 'x', 'n2');
test('then the first', findsVip, [inNs('n1'), inNs('n2')], '10.96.0.1', 'x', 'n1');
test('a private service is hidden from others', findsVip, [inNs('n1', hidden)], '10.96.0.1', 'x', undefined);
test('a private service serves its own', findsVip, [inNs('n1', hidden)], '10.96.0.1', 'n1', 'n1');
test('without client namespace nothing is hidden', findsVip, [inNs('n1', hidden)], '10.96.0.1', undefined, 'n1');
test(
  'an invisible exact VIP does not hide a visible block',
  findsVip,
  [inNs('n1', hidden), inNs('n2', block('10.96.0.0', 16))],
  '10.96.0.1',
  'x',
  'n2',
);
test('an exact VIP beats a block', findsVip, [inNs('n1', block('10.96.0.0', 16)), inNs('n2')], '10.96.0.1', 'n1', 'n2');
test('outside a block', findsVip, [inNs('n1', block('10.96.0.0', 16))], '10.97.0.1', 'n1', undefined);
test('inside an IPv6 block', findsVip, [inNs('n1', block('fd00::', 16))], 'fd00::7', 'n1', 'n1');
test('families never cross', findsVip, [inNs('n1', block('::', 0))], '10.0.0.1', 'n1', undefined);
test(
  'the longest block wins',
  findsVip,
  [inNs('n1', block('10.96.0.0', 16)), inNs('n2', block('10.96.0.0', 24))],
  '10.96.0.7',
  'x',
  'n2',
);
test(
  'the namespace beats the length of a block',
  findsVip,
  [inNs('n1', block('10.96.0.0', 16)), inNs('n2', block('10.96.0.0', 24))],
  '10.96.0.7',
  'n1',
  'n1',
);
test('a private block is hidden', findsVip, [inNs('n1', { ...block('10.96.0.0', 16), ...hidden })], '10.96.0.7', 'x');

test('removal cleans the index of blocks', (t) => {
  const state = stateWith(asService(inNs('n1', block('10.96.0.0', 16))));
  state.applyAddresses({ updates: [], removed: ['n1/web.n1.svc.cluster.local'] });
  t.deepEqual(state.servicesByVipRange('', '10.96.0.7'), []);
});

test('host names follow the same rules, with the preferred namespace before the first', (t) => {
  const named = (namespace: string, more = {}): Address =>
    asService(service({ name: 'web', namespace, hostname: 'h', ...more }));
  const state = stateWith(named('n1'), named('n2'), named('n3', hidden));
  const find = (namespace: string, preferredNamespace?: string): string | undefined =>
    findServiceByHostname(state, 'h', { namespace, preferredNamespace })?.namespace;
  t.is(find('n2'), 'n2');
  t.is(find('x'), 'n1');
  t.is(find('x', 'n2'), 'n2');
  t.is(find('x', 'n3'), 'n1');
  t.is(find('n3'), 'n3');
});

/** What is in a collection, whatever its order. */
const texts = (services: Iterable<Service>): readonly string[] =>
  [...services].map((service) => JSON.stringify(service)).sort();

test('lookups agree with a scan over everything, whatever was inserted and removed', (t) => {
  const arbService = fc
    .record({
      namespace: fc.constantFrom('n1', 'n2', 'n3'),
      ip: fc.constantFrom('10.96.0.1', '10.96.0.2', 'fd00::1'),
      length: fc.constantFrom(undefined, 16, 24),
      canonical: fc.boolean(),
    })
    .map((s) => inNs(s.namespace, { addresses: [vip(s.ip, s.length)], canonical: s.canonical }));
  const step = fc.oneof(
    arbService.map((value) => ({ updates: [asService(value)], removed: [] })),
    fc.constantFrom('n1', 'n2', 'n3').map((n) => ({ updates: [], removed: [`${n}/web.${n}.svc.cluster.local`] })),
  );
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 12 }),
      fc.constantFrom('10.96.0.1', '10.96.0.9', 'fd00::1'),
      (steps, ip) => {
        const state = stateWith();
        for (const batch of steps) state.applyAddresses(batch);
        const all = [...state.services.all()];
        const exact = all.filter((s) => s.addresses.some((v) => v.range.ip === ip && v.range.prefixLength >= 32));
        t.deepEqual(texts(state.servicesByVip('', ip)), texts(exact));
        const shared = ip.includes(':')
          ? []
          : all.filter((s) => s.addresses.some((v) => v.range.prefixLength < 32 && v.range.ip.startsWith('10.96.0')));
        const blocks = state.servicesByVipRange('', ip).map((found) => found.service);
        if (!ip.includes(':')) t.deepEqual(texts(blocks), texts(shared));
      },
    ),
  );
});

// --- local workload --------------------------------------------------------------------------------------------------

const pod = { name: 'a', namespace: 'default', serviceAccount: 'a' };

test('a local workload that is known is found at once', async (t) => {
  t.is((await stateWith(asWorkload(a)).waitForLocalWorkload(pod)).uid, a.uid);
});

test('a workload that another node has is not local', (t) => {
  t.is(stateWith(asWorkload({ ...a, node: 'n2' })).findLocalWorkload(pod), undefined);
});

test('a wait for a local workload ends when it is announced', async (t) => {
  const state = stateWith();
  const found = state.waitForLocalWorkload(pod);
  state.applyAddresses({ updates: [asWorkload({ ...a, node: 'n2' })], removed: [] });
  await settled();
  state.applyAddresses({ updates: [asWorkload(a)], removed: [] });
  t.is((await found).node, 'n1');
});

test('a wait for a local workload fails after 5 seconds', async (t) => {
  const clock = new ManualClock();
  const state = new MeshState({ node: 'n1', clock });
  const found = t.throwsAsync(state.waitForLocalWorkload(pod), {
    message: 'failed to fetch information about local workload: a.default (a)',
  });
  await clock.advance(4_999);
  t.is(clock.sleepers, 1);
  await clock.advance(1);
  await found;
});

// --- policies --------------------------------------------------------------------------------------------------------

test('namespace, global and listed policies apply; others do not', (t) => {
  const state = stateWith();
  const updates = [
    policy({ name: 'g', scope: 'GLOBAL', namespace: 'istio-system' }),
    policy({ name: 'own', scope: 'NAMESPACE' }),
    policy({ name: 'foreign', scope: 'NAMESPACE', namespace: 'other' }),
    policy({ name: 'listed', scope: 'WORKLOAD_SELECTOR' }),
    policy({ name: 'inert', scope: 'WORKLOAD_SELECTOR' }),
  ];
  state.applyPolicies({ updates, removed: [] });
  const { policies, unknown } = state.policiesFor({ ...a, authorizationPolicies: ['default/listed', 'default/none'] });
  t.deepEqual(policies.map((p) => p.name).sort(), ['g', 'listed', 'own']);
  t.deepEqual(unknown, ['default/none']);
});

test('a policy that changes its scope leaves its old bucket', (t) => {
  const state = stateWith();
  state.applyPolicies({ updates: [policy({ name: 'p', scope: 'NAMESPACE' })], removed: [] });
  t.is(state.policiesFor(a).policies.length, 1);
  state.applyPolicies({ updates: [policy({ name: 'p', scope: 'WORKLOAD_SELECTOR' })], removed: [] });
  t.is(state.policiesFor(a).policies.length, 0);
});

test('listeners hear of a policy batch once, and not of an empty one', (t) => {
  const state = stateWith();
  let heard = 0;
  state.subscribe({ policiesChanged: () => heard++ });
  state.applyPolicies({ updates: [policy({ name: 'p' }), policy({ name: 'q' })], removed: [] });
  state.applyPolicies({ updates: [], removed: ['default/never'] });
  t.is(heard, 1);
  state.applyPolicies({ updates: [], removed: ['default/p'] });
  t.is(heard, 2);
});

test('beyond its limit the state refuses new resources and still changes known ones', (t) => {
  const state = new MeshState({ node: 'n1', clock: new ManualClock(), resourcesMax: 1 });
  t.deepEqual(state.applyAddresses({ updates: [asWorkload(a)], removed: [] }), []);
  const rejected = state.applyAddresses({ updates: [asWorkload(b), asWorkload({ ...a, node: 'n2' })], removed: [] });
  t.deepEqual(rejected, [{ name: b.uid, reason: 'too many resources' }]);
  t.is(state.findWorkload(a.uid)?.node, 'n2');
});

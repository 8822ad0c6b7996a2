import test from 'ava';
import fc from 'fast-check';
import { workload } from '../../test/support/mesh-objects.ts';
import { type Candidate, pickWeighted, preferenceRank, selectByPreference } from './load-balancing.ts';
import type { LoadBalancing, Scope } from './service.ts';
import type { Workload } from './workload.ts';

const at = (network: string, region: string, zone: string): Workload =>
  workload({ name: `${network}-${region}-${zone}`, network, locality: { region, zone, subzone: '' } });
const source = at('n', 'r', 'z');
const ranks = test.macro((t, preferences: readonly Scope[], endpoint: Workload, rank: number) =>
  t.is(preferenceRank(preferences, source, endpoint), rank),
);
const NRZ = ['NETWORK', 'REGION', 'ZONE'] as const;
test('everything matches', ranks, NRZ, at('n', 'r', 'z'), 5);
test('network and region', ranks, NRZ, at('n', 'r', 'x'), 4);
test('network only', ranks, NRZ, at('n', 'x', 'z'), 3);
test('another network, same zone', ranks, NRZ, at('x', 'r', 'z'), 2);
test('another network, same region', ranks, NRZ, at('x', 'r', 'x'), 1);
test('nothing', ranks, NRZ, at('x', 'x', 'x'), 0);
test('a mismatch ends the count', ranks, ['REGION', 'ZONE'], at('n', 'x', 'z'), 0);
test('no preference', ranks, [], at('x', 'x', 'x'), 0);

const select = (mode: LoadBalancing['mode'], ...endpoints: Workload[]): string[] => {
  const list: Candidate[] = endpoints.map((w) => ({
    workload: w,
    endpoint: { workloadUid: w.uid, ports: new Map(), status: 'HEALTHY' },
  }));
  const balancing: LoadBalancing = { mode, routingPreference: NRZ, healthPolicy: 'ONLY_HEALTHY' };
  return selectByPreference(list, balancing, source).map((candidate) => candidate.workload.name);
};
test('STRICT leaves only what matches all', (t) =>
  t.deepEqual(select('STRICT', at('n', 'r', 'z'), at('n', 'r', 'x')), ['n-r-z']));
test('STRICT may leave nothing', (t) => t.deepEqual(select('STRICT', at('n', 'r', 'x')), []));
test('FAILOVER leaves the best group', (t) =>
  t.deepEqual(select('FAILOVER', at('x', 'r', 'z'), at('n', 'x', 'a'), at('n', 'x', 'b')), ['n-x-a', 'n-x-b']));
test('FAILOVER without any match leaves all', (t) =>
  t.is(select('FAILOVER', at('x', 'x', 'x'), at('y', 'y', 'y')).length, 2));
test('without a mode all are left', (t) => t.is(select('UNSPECIFIED', at('n', 'r', 'z'), at('x', 'x', 'x')).length, 2));

test('every item is picked for exactly its share of the scale', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(4), { maxLength: 6 }), (weights) => {
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      const slots = weights.flatMap((weight, index) => new Array<number>(weight).fill(index));
      if (total === 0)
        return t.is(
          pickWeighted(weights, (weight) => weight, 0.5),
          undefined,
        );
      const items = weights.map((weight, index) => ({ weight, index }));
      for (let slot = 0; slot < total; slot++) {
        t.is(pickWeighted(items, ({ weight }) => weight, (slot + 0.5) / total)?.index, slots[slot]);
      }
    }),
  );
});

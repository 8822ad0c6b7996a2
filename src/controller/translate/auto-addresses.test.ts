import test from 'ava';
import fc from 'fast-check';
import type { ServiceEntry } from '../resources.ts';
import { allocateAddresses } from './auto-addresses.ts';

const hosts = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,3}\.test$/), { minLength: 1, maxLength: 3 });
const entries = fc
  .uniqueArray(fc.record({ name: fc.stringMatching(/^[a-z]{1,3}$/), hosts }), {
    selector: ({ name }) => name,
    maxLength: 8,
  })
  .map((list) => list.map(({ name, hosts: own }) => entry(name, own)));

function entry(name: string, own: readonly string[], status?: ServiceEntry['status']): ServiceEntry {
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata: { name, namespace: 'a' },
    spec: { hosts: own, resolution: 'DNS' },
    ...(status ? { status } : {}),
  };
}

/** As the statuses would say after they were written. */
function written(list: readonly ServiceEntry[]): ServiceEntry[] {
  const allocated = allocateAddresses(list);
  return list.map((one) => {
    const addresses = (allocated.get(`a/${one.metadata.name}`) ?? []).map(({ host, ip }) => ({ host, value: ip }));
    return entry(one.metadata.name, one.spec.hosts, { addresses });
  });
}

test('no address is given twice, and each host has one of each family', (t) => {
  fc.assert(
    fc.property(entries, (list) => {
      const all = [...allocateAddresses(list).values()].flat();
      t.is(new Set(all.map(({ ip }) => ip)).size, all.length);
      t.is(all.length, 2 * list.reduce((sum, one) => sum + one.spec.hosts.length, 0));
    }),
  );
});

test('an address once written stays, whatever comes and goes beside it', (t) => {
  fc.assert(
    fc.property(entries, entries, fc.integer({ min: 0, max: 7 }), (first, more, gone) => {
      const kept = written(first).filter((_, index) => index !== gone);
      const names = new Set(kept.map(({ metadata }) => metadata.name));
      const after = allocateAddresses([...more.filter(({ metadata }) => !names.has(metadata.name)), ...kept]);
      for (const { metadata, status } of kept) {
        t.deepEqual(
          after.get(`a/${metadata.name}`)?.map(({ host, ip }) => ({ host, value: ip })),
          status?.addresses?.map(({ host, value }) => ({ host: host ?? '', value: value ?? '' })),
        );
      }
    }),
  );
});

test('two entries that claim one address by their status do not share it', (t) => {
  const addresses = [{ host: 'x.test', value: '240.240.0.7' }];
  const all = [
    ...allocateAddresses([entry('a', ['x.test'], { addresses }), entry('b', ['x.test'], { addresses })]).values(),
  ];
  t.is(all[0]?.[0]?.ip, '240.240.0.7');
  t.not(all[1]?.[0]?.ip, '240.240.0.7');
});

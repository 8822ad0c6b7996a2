import test from 'ava';
import fc from 'fast-check';
import { type HashedEndpoint, type HashTable, hash32, maglevTable, ringTable } from './consistent-hash.ts';

const tables: readonly (readonly [string, (endpoints: readonly HashedEndpoint[]) => HashTable])[] = [
  ['ring', (endpoints) => ringTable(endpoints, 0)],
  ['maglev', (endpoints) => maglevTable(endpoints, 4_099)],
];
const everybody = (): boolean => true;
const names = (count: number): readonly HashedEndpoint[] =>
  Array.from({ length: count }, (_, i) => ({ key: `pod-${i}`, weight: 1 }));
const requests = Array.from({ length: 2_000 }, (_, i) => hash32(`user-${i}`));

for (const [name, make] of tables) {
  test(`${name}: an endpoint that goes moves its own share and little else`, (t) => {
    const before = names(10);
    const after = before.filter((_, index) => index !== 3);
    const [first, second] = [make(before), make(after)];
    const keyOf = (list: readonly HashedEndpoint[], index: number | undefined) => list[index ?? -1]?.key;
    const moved = requests.filter((hash) => {
      const was = keyOf(before, first(hash, everybody));
      return was !== 'pod-3' && was !== keyOf(after, second(hash, everybody));
    });
    t.true(moved.length < requests.length * (name === 'ring' ? 0.001 : 0.05), `${moved.length} moved`);
  });

  test(`${name}: shares follow weights`, (t) => {
    const find = make([
      { key: 'light', weight: 1 },
      { key: 'heavy', weight: 3 },
    ]);
    const heavy = requests.filter((hash) => find(hash, everybody) === 1).length / requests.length;
    t.true(heavy > 0.6 && heavy < 0.9, String(heavy));
  });

  test(`${name}: finds one that is accepted whenever there is one, and always the same`, (t) => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 6 }),
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.nat(63),
        (count, hash, mask) => {
          const accepts = (index: number): boolean => (mask & (1 << index)) !== 0;
          const isThere = Array.from({ length: count }, (_, i) => i).some(accepts);
          const found = make(names(count))(hash, accepts);
          t.is(found !== undefined, isThere);
          if (found !== undefined) t.true(accepts(found));
          t.is(make(names(count))(hash, accepts), found);
        },
      ),
      { numRuns: 30 },
    );
  });
}

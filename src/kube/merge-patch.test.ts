import test from 'ava';
import fc from 'fast-check';
import { composePatches, mergeObject, mergePatch } from './merge-patch.ts';

const merges = test.macro((t, target: unknown, patch: unknown, result: unknown) => {
  t.deepEqual(mergePatch(target, patch), result);
});
// RFC 7396, appendix A
test('a value replaces', merges, { a: 'b' }, { a: 'c' }, { a: 'c' });
test('a value is added', merges, { a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' });
test('null removes', merges, { a: 'b', b: 'c' }, { a: null }, { b: 'c' });
test('an array replaces', merges, { a: ['b'] }, { a: ['c', 'd'] }, { a: ['c', 'd'] });
test('objects merge', merges, { a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } });
test('an object replaces what is none', merges, ['a'], { a: 'b', c: null }, { a: 'b' });
test('a patch that is no object replaces', merges, { a: 'b' }, ['c'], ['c']);

const json = fc.jsonValue({ maxDepth: 3 });
const patch = fc.dictionary(fc.string(), json);

test('applying a patch twice is applying it once, and inputs stay untouched', (t) => {
  fc.assert(
    fc.property(json, patch, (target, change) => {
      const before = JSON.stringify([target, change]);
      const once = mergePatch(target, change);
      t.deepEqual(mergePatch(once, change), once);
      t.is(JSON.stringify([target, change]), before);
    }),
  );
});

const scalar = fc.oneof(fc.string(), fc.integer(), fc.constant(null));
/** Fields keep their shape, as those of Kubernetes objects do: a map stays a map. */
const shaped = fc.record(
  { a: scalar, b: fc.record({ c: scalar, d: fc.oneof(fc.array(scalar), fc.constant(null)) }) },
  { requiredKeys: [] },
);

test('two patches one after the other are the composed one', (t) => {
  fc.assert(
    fc.property(shaped, shaped, shaped, (given, first, second) => {
      const target = mergePatch({}, given);
      t.deepEqual(mergePatch(target, composePatches(first, second)), mergePatch(mergePatch(target, first), second));
    }),
  );
});

test('no prototype is reached by a name', (t) => {
  const merged = mergePatch({}, JSON.parse('{"__proto__": {"polluted": true}}')) as Record<string, unknown>;
  t.is(({} as Record<string, unknown>).polluted, undefined);
  t.is(merged.polluted, undefined);
});

test('conditions are kept apart by type', (t) => {
  const object = {
    status: {
      conditions: [
        { type: 'A', status: 'True' },
        { type: 'B', status: 'True' },
      ],
    },
  };
  const merged = mergeObject(object, { status: { conditions: [{ type: 'B', status: 'False' }] } });
  t.deepEqual(merged.status.conditions, [
    { type: 'A', status: 'True' },
    { type: 'B', status: 'False' },
  ]);
});

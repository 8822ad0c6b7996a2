import test from 'ava';
import fc from 'fast-check';
import { outcomesOf } from './choices.ts';
import { draw, type Random } from './upstream.ts';

const weightOf = (item: readonly [string, number]): number => item[1];

test('a function that draws nothing has one outcome', (t) => {
  t.deepEqual(
    outcomesOf(() => 'only', 10),
    [{ weight: 1, value: 'only' }],
  );
});

test('draws that follow from each other multiply, and what has no weight never comes', (t) => {
  const decide = (random: Random): string => {
    const first = draw(
      [
        ['a', 9],
        ['b', 1],
        ['never', 0],
      ] as const,
      weightOf,
      random,
    )?.[0];
    return first === 'b'
      ? `b${
          draw(
            [
              ['1', 1],
              ['2', 3],
            ] as const,
            weightOf,
            random,
          )?.[0]
        }`
      : (first ?? 'none');
  };
  t.deepEqual(outcomesOf(decide, 10), [
    { weight: 0.9, value: 'a' },
    { weight: 0.1 * 0.25, value: 'b1' },
    { weight: 0.1 * 0.75, value: 'b2' },
  ]);
});

test('too many outcomes, or a bare number asked for, cannot be listed', (t) => {
  const items = Array.from({ length: 5 }, (_, i) => [String(i), 1] as const);
  t.is(
    outcomesOf((random) => draw(items, weightOf, random), 4),
    undefined,
  );
  t.is(outcomesOf((random) => draw(items, weightOf, random), 5)?.length, 5);
  t.is(
    outcomesOf((random) => random(), 10),
    undefined,
  );
});

test('outcomes are what drawing by numbers gives, as often', (t) => {
  const weights = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(weights, weights, (first, second) => {
      const decide = (random: Random): string => {
        const a = draw([...first.entries()], weightOf2, random);
        const b = a && a[0] % 2 === 0 ? draw([...second.entries()], weightOf2, random) : undefined;
        return `${a?.[0]}/${b?.[0]}`;
      };
      const total = (outcomesOf(decide, 100) ?? []).reduce((sum, { weight }) => sum + weight, 0);
      t.true(Math.abs(total - 1) < 1e-9);
      let calls = 0;
      const drawn = decide(() => [0.3, 0.8][calls++] ?? 0);
      t.true(outcomesOf(decide, 100)?.some(({ value }) => value === drawn));
    }),
  );
});

const weightOf2 = (item: readonly [number, number]): number => item[1];

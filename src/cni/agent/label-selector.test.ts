import test from 'ava';
import fc from 'fast-check';
import { type LabelSelector, type Labels, matchesLabels } from './label-selector.ts';

const matches = test.macro((t, selector: LabelSelector, labels: Labels | undefined, expected: boolean) => {
  t.is(matchesLabels(selector, labels), expected);
});
const LABELS: Labels = { app: 'cart', tier: 'web' };
test('an empty selector matches everything', matches, {}, LABELS, true);
test('an empty selector matches no labels', matches, {}, undefined, true);
test('all labels must be there', matches, { matchLabels: { app: 'cart', tier: 'db' } }, LABELS, false);
test('In', matches, { matchExpressions: [{ key: 'app', operator: 'In', values: ['x', 'cart'] }] }, LABELS, true);
test('In, absent', matches, { matchExpressions: [{ key: 'no', operator: 'In', values: ['x'] }] }, LABELS, false);
test('NotIn, absent', matches, { matchExpressions: [{ key: 'no', operator: 'NotIn', values: ['x'] }] }, LABELS, true);
test('NotIn', matches, { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['cart'] }] }, LABELS, false);
test('Exists', matches, { matchExpressions: [{ key: 'tier', operator: 'Exists' }] }, LABELS, true);
test(
  'Exists is not fooled by what objects inherit',
  matches,
  { matchExpressions: [{ key: 'toString', operator: 'Exists' }] },
  LABELS,
  false,
);
test('DoesNotExist', matches, { matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' }] }, LABELS, false);
test(
  'labels and expressions',
  matches,
  { matchLabels: { app: 'cart' }, matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' }] },
  LABELS,
  false,
);

test('In and NotIn are opposites, and so are Exists and DoesNotExist', (t) => {
  const text = fc.constantFrom('a', 'b', 'c');
  fc.assert(
    fc.property(fc.dictionary(text, text), text, fc.array(text, { minLength: 1 }), (labels, key, values) => {
      const one = (operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist'): boolean =>
        matchesLabels({ matchExpressions: [{ key, operator, values }] }, labels);
      t.not(one('In'), one('NotIn'));
      t.not(one('Exists'), one('DoesNotExist'));
    }),
  );
});

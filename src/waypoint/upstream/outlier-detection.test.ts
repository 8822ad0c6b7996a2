import test from 'ava';
import type { OutlierDetection } from '../../model/l7/index.ts';
import {
  type Ejectable,
  FailureCounts,
  noteResult,
  resultOf,
  type TryResult,
  withoutEjected,
} from './outlier-detection.ts';

const POLICY: OutlierDetection = {
  consecutive5xx: 3,
  consecutiveGatewayErrors: 0,
  consecutiveLocalOriginFailures: 0,
  splitLocalOrigin: false,
  intervalMs: 1_000,
  baseEjectionMs: 100,
  maxEjectionPercent: 50,
  minHealthPercent: 0,
};

function endpoints(count: number): Ejectable[] {
  return Array.from({ length: count }, () => ({ ejectedUntilMs: 0, failures: new FailureCounts() }));
}

/** Whether the results, one after the other, eject. */
const ejects = test.macro((t, policy: Partial<OutlierDetection>, results: readonly TryResult[], expected: boolean) => {
  const all = endpoints(4);
  const [one] = all;
  if (!one) return t.fail();
  const noted = results.map((result) => noteResult(one, result, { policy: { ...POLICY, ...policy }, all, nowMs: 1 }));
  t.is(noted.includes(true), expected);
});
const bad: TryResult = 'SERVER_ERROR';
test('as many failures in a row as are allowed eject', ejects, {}, [bad, bad, bad], true);
test('fewer do not', ejects, {}, [bad, bad], false);
test('a good answer in between starts the count again', ejects, {}, [bad, bad, 'OK', bad, bad], false);
test(
  'gateway errors count on their own',
  ejects,
  { consecutive5xx: 0, consecutiveGatewayErrors: 2 },
  ['GATEWAY_ERROR', 'GATEWAY_ERROR'],
  true,
);
test(
  'another server error interrupts them',
  ejects,
  { consecutive5xx: 0, consecutiveGatewayErrors: 2 },
  ['GATEWAY_ERROR', bad, 'GATEWAY_ERROR'],
  false,
);
test('own failures count with the rest', ejects, {}, ['LOCAL', 'LOCAL', 'LOCAL'], true);
test('or apart', ejects, { splitLocalOrigin: true }, ['LOCAL', 'LOCAL', 'LOCAL'], false);
test(
  'and apart to their own limit',
  ejects,
  { splitLocalOrigin: true, consecutiveLocalOriginFailures: 2 },
  ['LOCAL', 'LOCAL'],
  true,
);

test('no more are out than the percentage, and one always may be', (t) => {
  const all = endpoints(4);
  const out = all.map((one) => {
    for (let i = 0; i < 3; i++) noteResult(one, bad, { policy: POLICY, all, nowMs: 1 });
    return one.ejectedUntilMs > 1;
  });
  t.deepEqual(out, [true, true, false, false]);
  const two = endpoints(2);
  for (const one of two)
    for (let i = 0; i < 3; i++)
      noteResult(one, bad, { policy: { ...POLICY, maxEjectionPercent: 1 }, all: two, nowMs: 1 });
  t.is(withoutEjected(two, POLICY, 1).length, 1);
});

test('the second ejection lasts longer', (t) => {
  const all = endpoints(2);
  const [one] = all;
  if (!one) return t.fail();
  for (let i = 0; i < 3; i++) noteResult(one, bad, { policy: POLICY, all, nowMs: 0 });
  t.is(one.ejectedUntilMs, 100);
  for (let i = 0; i < 3; i++) noteResult(one, bad, { policy: POLICY, all, nowMs: 150 });
  t.is(one.ejectedUntilMs, 150 + 200);
});

test('with too few healthy ones all are used', (t) => {
  const all = endpoints(4);
  for (const one of all.slice(0, 3)) one.ejectedUntilMs = 10;
  t.is(withoutEjected(all, { ...POLICY, minHealthPercent: 30 }, 5).length, 4);
  t.is(withoutEjected(all, { ...POLICY, minHealthPercent: 20 }, 5).length, 1);
  t.is(withoutEjected(all, POLICY, 11).length, 4);
});

test('statuses by kind', (t) => {
  t.deepEqual([200, 404, 500, 502, 503, 504].map(resultOf), [
    'OK',
    'OK',
    bad,
    'GATEWAY_ERROR',
    'GATEWAY_ERROR',
    'GATEWAY_ERROR',
  ]);
});

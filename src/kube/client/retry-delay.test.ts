import test from 'ava';
import fc from 'fast-check';
import { absentDelayMs, retryDelayMs } from './retry-delay.ts';

const random = fc.double({ min: 0, max: 1, noNaN: true });

test('waits double from 200 ms and stop growing at 30 s', (t) => {
  t.deepEqual(
    [1, 2, 3, 8, 9, 100].map((failures) => retryDelayMs(failures, 1)),
    [200, 400, 800, 25_600, 30_000, 30_000],
  );
});

test('a wait is never less than half its bound, and never nothing', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000_000 }), random, (failures, share) => {
      const delayMs = retryDelayMs(failures, share);
      t.true(delayMs >= 100 && delayMs <= 30_000 && delayMs >= retryDelayMs(failures, 1) / 2);
    }),
  );
  t.deepEqual([absentDelayMs(0), absentDelayMs(1)], [30_000, 60_000]);
});

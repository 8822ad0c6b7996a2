import test from 'ava';
import fc from 'fast-check';
import { Histogram, Registry } from 'prom-client';
import { newMetricsRegistry } from '../../core/metrics.ts';
import { histogramMetric } from './series.ts';

const BOUNDS = [1, 10, 100];
const linesOf = (text: string): readonly string[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('took'))
    .sort();

test('a histogram says what prom-client’s own says, whatever is observed', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom('a', 'b'), fc.integer({ min: 0, max: 200 })), { maxLength: 30 }),
      async (observed) => {
        const ours = newMetricsRegistry();
        const theirs = new Registry();
        const own = histogramMetric({ name: 'took', help: 'x' }, BOUNDS, ours);
        const reference = new Histogram({
          name: 'took',
          help: 'x',
          labelNames: ['who'],
          buckets: BOUNDS,
          registers: [theirs],
        });
        for (const [who, value] of observed) {
          own.of({ who }).observe(value);
          reference.labels({ who }).observe(value);
        }
        const normal = (line: string): string =>
          line.replace(/\{(.*)\}/, (_, labels: string) => `{${labels.split(',').sort().join()}}`);
        t.deepEqual(
          linesOf(await ours.metrics())
            .map(normal)
            .sort(),
          linesOf(await theirs.metrics())
            .map(normal)
            .sort(),
        );
      },
    ),
    { numRuns: 50 },
  );
});

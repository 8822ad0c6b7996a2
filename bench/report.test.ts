import test from 'ava';
import { formatReport, percentile, type Report } from './report.ts';

const report = (mesh: number): Report => ({
  date: '',
  kernel: '',
  cpus: 2,
  figures: [{ name: 'iperf3, 1 stream', unit: 'Gbit/s', direct: 10, mesh, better: 'more' }],
});

test('the table has the ratio to direct and the change against a baseline', (t) => {
  const table = formatReport(report(4), report(5));
  t.regex(table, /\| 0\.40 +\|/);
  t.regex(table, /-20 % \(worse\)/);
});

test('percentiles are taken from the sorted samples', (t) => {
  t.is(percentile([3, 1, 2], 0.5), 2);
  t.is(percentile([3, 1, 2], 0.99), 3);
  t.true(Number.isNaN(percentile([], 0.5)));
});

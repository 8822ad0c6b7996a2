import test from 'ava';
import { MeshError } from '../core/errors.ts';
import { parseIperf, parseWrk } from './demo-measure.ts';

const WRK = `Running 2s test @ http://details:9080/health
  Latency Distribution
     50%  324.00us
     75%    1.10ms
     99%    2.89ms
  Requests/sec:   9974.45
`;

test('wrk reports microseconds, milliseconds and a rate', (t) => {
  t.deepEqual(parseWrk(WRK), { p50Ms: 0.324, p99Ms: 2.89, requestsPerSecond: 9974.45 });
});

test('failed requests are no measurement', (t) => {
  const text = `${WRK}  Non-2xx or 3xx responses: 3\n`;
  t.is(t.throws(() => parseWrk(text), { instanceOf: MeshError })?.code, 'ERR_MALFORMED');
});

test('iperf3 reports what the server received', (t) => {
  const text =
    '{"end": {"sum_sent": {"bits_per_second": 1}, "sum_received": {"bytes": 5, "bits_per_second": 6.6e+09}}}';
  t.is(parseIperf(text), 6_600);
  t.throws(() => parseIperf('{"error": "unable to connect"}'), { instanceOf: MeshError });
});

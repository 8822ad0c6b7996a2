import test from 'ava';
import type { TcpPacket } from '../local/index.ts';
import { readCertificates, readLink, sumMetric, without } from './demo-evidence.ts';

function packet(port: number, payload: string | number, { syn = false, client = 40_000 } = {}): TcpPacket {
  return {
    time: 0,
    sourceIp: '10.244.1.2',
    sourcePort: client,
    destinationIp: '10.244.2.2',
    destinationPort: port,
    syn,
    reset: false,
    payload: typeof payload === 'string' ? Buffer.from(payload) : Buffer.from([payload]),
  };
}

test('requests in clear are seen', (t) => {
  const seen = readLink([packet(9080, '', { syn: true }), packet(9080, 'GET /details/0 HTTP/1.1')]);
  t.is(seen.clear.size, 1);
  t.is(seen.other.size, 1);
  t.is(seen.hbone.size, 0);
});

test('a tunnel that starts with a handshake is TLS, one that starts with anything else is not', (t) => {
  const good = [packet(15_008, '', { syn: true }), packet(15_008, 0x16), packet(15_008, 0x17)];
  t.is(readLink(good).notTls.size, 0);
  const bad = [packet(15_008, '', { syn: true }), packet(15_008, 'PRI * HTTP/2.0')];
  t.is(readLink(bad).notTls.size, 1);
});

test('the middle of an older tunnel is not judged', (t) => {
  const seen = readLink([packet(15_008, 0x99)]);
  t.is(seen.hbone.size, 1);
  t.is(seen.notTls.size, 0);
});

test('words in clear are found inside a tunnel too', (t) => {
  t.is(readLink([packet(15_008, 'GET / HTTP/1.1')]).clear.size, 1);
});

test('strangers are those not known', (t) => {
  t.deepEqual(without(new Set(['a', 'b']), new Set(['a'])), ['b']);
});

test('a counter is summed over the series with all labels', (t) => {
  const text = [
    '# HELP istio_tcp_sent_bytes_total bytes',
    'istio_tcp_sent_bytes_total{reporter="source",app="a"} 10',
    'istio_tcp_sent_bytes_total{app="a",reporter="source",extra="}"} 5',
    'istio_tcp_sent_bytes_total{reporter="destination",app="a"} 100',
    'istio_tcp_sent_bytes_total_other{reporter="source",app="a"} 1000',
  ].join('\n');
  t.is(sumMetric(text, 'istio_tcp_sent_bytes_total', { reporter: 'source', app: 'a' }), 15);
  t.is(sumMetric(text, 'istio_tcp_sent_bytes_total', { reporter: 'none' }), 0);
});

test('leaf certificates are read, identities without one are left out', (t) => {
  const validity = { validFrom: '2026-01-01T00:00:00Z', expirationTime: '2026-01-02T00:00:00Z' };
  const dump = { certificates: [{ identity: 'a', certChain: [validity, {}] }, { identity: 'b' }] };
  t.deepEqual(readCertificates(JSON.stringify(dump)), [{ identity: 'a', ...validity }]);
  t.deepEqual(readCertificates('{}'), []);
});

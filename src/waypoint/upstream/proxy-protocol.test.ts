import test from 'ava';
import { proxyHeader } from './proxy-protocol.ts';

const v4 = { sourceIp: '10.0.0.1', sourcePort: 4_000, destinationIp: '10.0.0.2', destinationPort: 80 };

test('version 1 is a line', (t) => {
  t.is(proxyHeader('V1', v4).toString(), 'PROXY TCP4 10.0.0.1 10.0.0.2 4000 80\r\n');
  t.is(proxyHeader('V1', undefined).toString(), 'PROXY UNKNOWN\r\n');
  t.is(proxyHeader('V1', { ...v4, sourceIp: 'fd00::1' }).toString(), 'PROXY UNKNOWN\r\n');
});

test('version 2 is binary', (t) => {
  const header = proxyHeader('V2', v4);
  t.is(header.subarray(12).toString('hex'), '2111000c0a0000010a0000020fa00050');
  t.is(header.length, 28);
  t.is(proxyHeader('V2', { ...v4, sourceIp: 'fd00::1', destinationIp: 'fd00::2' }).length, 52);
  t.is(proxyHeader('V2', undefined).subarray(12).toString('hex'), '20000000');
});

import test from 'ava';
import { appProtocolOf, entryProtocolOf, type PortDescription } from './app-protocol.ts';

const is = test.macro((t, port: Partial<PortDescription>, expected: string) => {
  t.is(appProtocolOf({ port: 8080, ...port }), expected as never);
});
test('the name is read up to its first dash', is, { name: 'http-web' }, 'HTTP11');
test('the name alone', is, { name: 'grpc' }, 'GRPC');
test('appProtocol beats the name', is, { name: 'http', appProtocol: 'kubernetes.io/h2c' }, 'HTTP2');
test('web sockets', is, { appProtocol: 'kubernetes.io/ws' }, 'HTTP11');
test('web sockets over TLS', is, { appProtocol: 'kubernetes.io/wss' }, 'TLS');
test('an appProtocol nobody knows', is, { name: 'http', appProtocol: 'example.com/x' }, 'UNKNOWN');
test('grpc-web has no value of its own', is, { name: 'grpc-web' }, 'UNKNOWN');
test('grpc-web with a suffix neither', is, { name: 'grpc-web-x' }, 'UNKNOWN');
test('UDP is unknown, whatever its name', is, { name: 'http', protocol: 'UDP' }, 'UNKNOWN');
test('a server-first port without a name is TCP', is, { port: 3306 }, 'TCP');
test('a server-first port with an unknown name is TCP', is, { name: 'db', port: 27017 }, 'TCP');
test('a server-first port named by its protocol stays unknown', is, { name: 'mysql', port: 3306 }, 'UNKNOWN');
test('any other port is unknown', is, { name: 'db' }, 'UNKNOWN');
test('a name like a member of Object.prototype', is, { name: 'constructor' }, 'UNKNOWN');

test('entries name their protocol', (t) => {
  t.is(entryProtocolOf({ port: 1, protocol: 'HTTPS' }), 'TLS');
  t.is(entryProtocolOf({ port: 1, protocol: 'MONGO', name: 'http' }), 'UNKNOWN');
  t.is(entryProtocolOf({ port: 1, name: 'http-x' }), 'HTTP11');
});

import test from 'ava';
import fc from 'fast-check';
import { clearConnections, parseSockets, tunnelConnections } from './socket-table.ts';

const OWN = ['127.0.0.1', '::1', '10.0.0.2', 'fd00::2'];
const TABLE = `LISTEN 0 128 *:15006 *:* ino:1 sk:1 cgroup:/ v6only:0 <->
LISTEN 0 128 0.0.0.0:9080 0.0.0.0:* ino:2 sk:2 cgroup:/ <->
`;

test('lines of ss are read, mapped addresses as IPv4, scopes dropped', (t) => {
  const text = `${TABLE}ESTAB 0 0 [::ffff:10.0.0.2]:9080 [::ffff:10.0.0.9]:40000 timer:(keepalive,1min,0) ino:3 sk:3 fwmark:0x111 <->
ESTAB 0 0 [fe80::1%eth0]:1 [fe80::2%eth0]:2 ino:4 sk:4 <->`;
  t.deepEqual(parseSockets(text).slice(1), [
    { state: 'LISTEN', local: { ip: '0.0.0.0', port: 9080 }, remote: { ip: '0.0.0.0', port: 0 }, mark: 0 },
    { state: 'ESTAB', local: { ip: '10.0.0.2', port: 9080 }, remote: { ip: '10.0.0.9', port: 40_000 }, mark: 0x111 },
    { state: 'ESTAB', local: { ip: 'fe80::1', port: 1 }, remote: { ip: 'fe80::2', port: 2 }, mark: 0 },
  ]);
});

const clear = test.macro((t, line: string, expected: string) => {
  const found = clearConnections(parseSockets(TABLE + line), OWN);
  t.is(found.map(({ direction, remote }) => `${direction} ${remote.ip}`).join(), expected);
});
test(
  'a connection from outside to a listener is inbound',
  clear,
  'ESTAB 0 0 10.0.0.2:9080 10.0.0.9:4000',
  'inbound 10.0.0.9',
);
test('any other is outbound', clear, 'ESTAB 0 0 [fd00::2]:4000 [fd00::9]:80', 'outbound fd00::9');
test('half-closed ones count', clear, 'CLOSE-WAIT 0 0 10.0.0.2:9080 10.0.0.9:4000', 'inbound 10.0.0.9');
test('ended ones do not', clear, 'TIME-WAIT 0 0 10.0.0.2:9080 10.0.0.9:4000', '');
test('loopback does not', clear, 'ESTAB 0 0 127.0.0.1:9080 127.0.0.1:4000', '');
test('the pod to itself does not', clear, 'ESTAB 0 0 10.0.0.2:9080 10.0.0.2:4000', '');
test('a probe does not', clear, 'ESTAB 0 0 10.0.0.2:9080 169.254.7.127:4000', '');
test(
  'what the tunnel opened to the application does not',
  clear,
  'ESTAB 0 0 10.0.0.2:9080 10.0.0.9:4000 fwmark:0x111',
  '',
);
test('what the tunnel opened to a peer does not', clear, 'ESTAB 0 0 10.0.0.2:4000 10.0.0.9:15008 fwmark:0x539', '');
test('what the tunnel accepted does not', clear, 'ESTAB 0 0 10.0.0.2:15006 10.0.0.9:4000', '');
test(
  'a foreign source address of the tunnel does not',
  clear,
  'ESTAB 0 0 10.0.0.9:4000 10.0.0.2:9080 fwmark:0x111',
  '',
);
test(
  'a captured connection is known by the tunnel’s end of it',
  clear,
  'ESTAB 0 0 10.0.0.2:4000 10.0.0.9:80\nESTAB 0 0 [::ffff:127.0.0.1]:15001 [::ffff:10.0.0.2]:4000',
  '',
);

test('connections of the tunnel are counted', (t) => {
  const lines = ['ESTAB 0 0 10.0.0.2:15008 10.0.0.9:4000', 'ESTAB 0 0 10.0.0.2:9080 10.0.0.9:4000 fwmark:0x111'];
  t.is(tunnelConnections(parseSockets(TABLE + lines.join('\n'))), 2);
  t.is(tunnelConnections(parseSockets(TABLE)), 0);
});

test('any text is read without a throw', (t) => {
  const line = fc.array(fc.oneof(fc.string(), fc.constantFrom('ESTAB', '0', '1.2.3.4:5', '[::1]:x', 'fwmark:0xzz')));
  fc.assert(
    fc.property(fc.array(line), (lines) => {
      const sockets = parseSockets(lines.map((words) => words.join(' ')).join('\n'));
      t.notThrows(() => clearConnections(sockets, OWN));
    }),
  );
});

import test from 'ava';
import type { TcpState } from 'culvert-netns';
import { clearConnections, type PodSocket, tunnelConnections } from './socket-table.ts';

const OWN = ['127.0.0.1', '::1', '10.0.0.2', 'fd00::2'];
const LISTENERS = [socket('LISTEN', ':: 15006', ':: 0'), socket('LISTEN', '0.0.0.0 9080', '0.0.0.0 0')];

/** Addresses as `ip port`. */
function socket(state: TcpState, local: string, remote: string, mark = 0): PodSocket {
  return { state, local: address(local), remote: address(remote), mark, id: new Uint8Array() };
}

function address(text: string) {
  const [ip = '', port] = text.split(' ');
  return { ip, port: Number(port) };
}

const clear = test.macro((t, sockets: readonly PodSocket[], expected: string) => {
  const found = clearConnections([...LISTENERS, ...sockets], OWN);
  t.is(found.map(({ direction, remote }) => `${direction} ${remote.ip}`).join(), expected);
});
test(
  'a connection from outside to a listener is inbound',
  clear,
  [socket('ESTABLISHED', '10.0.0.2 9080', '10.0.0.9 4000')],
  'inbound 10.0.0.9',
);
test('any other is outbound', clear, [socket('ESTABLISHED', 'fd00::2 4000', 'fd00::9 80')], 'outbound fd00::9');
test('half-closed ones count', clear, [socket('CLOSE_WAIT', '10.0.0.2 9080', '10.0.0.9 4000')], 'inbound 10.0.0.9');
test('ended ones do not', clear, [socket('TIME_WAIT', '10.0.0.2 9080', '10.0.0.9 4000')], '');
test('loopback does not', clear, [socket('ESTABLISHED', '127.0.0.1 9080', '127.0.0.1 4000')], '');
test('the pod to itself does not', clear, [socket('ESTABLISHED', '10.0.0.2 9080', '10.0.0.2 4000')], '');
test('a probe does not', clear, [socket('ESTABLISHED', '10.0.0.2 9080', '169.254.7.127 4000')], '');
test(
  'what the tunnel opened to the application does not',
  clear,
  [socket('ESTABLISHED', '10.0.0.2 9080', '10.0.0.9 4000', 0x111)],
  '',
);
test(
  'what the tunnel opened to a peer does not',
  clear,
  [socket('ESTABLISHED', '10.0.0.2 4000', '10.0.0.9 15008', 0x539)],
  '',
);
test('what the tunnel accepted does not', clear, [socket('ESTABLISHED', '10.0.0.2 15006', '10.0.0.9 4000')], '');
test(
  'a foreign source address of the tunnel does not',
  clear,
  [socket('ESTABLISHED', '10.0.0.9 4000', '10.0.0.2 9080', 0x111)],
  '',
);
test(
  'a captured connection is known by the tunnel’s end of it',
  clear,
  [socket('ESTABLISHED', '10.0.0.2 4000', '10.0.0.9 80'), socket('ESTABLISHED', '127.0.0.1 15001', '10.0.0.2 4000')],
  '',
);

test('connections of the tunnel are counted', (t) => {
  const carried = [
    socket('ESTABLISHED', '10.0.0.2 15008', '10.0.0.9 4000'),
    socket('ESTABLISHED', '10.0.0.2 9080', '10.0.0.9 4000', 0x111),
  ];
  t.is(tunnelConnections([...LISTENERS, ...carried]), 2);
  t.is(tunnelConnections(LISTENERS), 0);
});

test('what is found names the socket that can be ended', (t) => {
  const open = socket('ESTABLISHED', '10.0.0.2 9080', '10.0.0.9 4000');
  t.is(clearConnections([...LISTENERS, open], OWN)[0]?.socket, open);
});

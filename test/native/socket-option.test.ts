/** Options and counters of sockets, UDP sockets inside a namespace. */
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import test from 'ava';
import {
  type AcceptedSocket,
  bindUdp,
  closeFd,
  connectTcp,
  listenTcp,
  type NetnsError,
  setSocketOptions,
  socketCookie,
  tcpInfo,
} from 'culvert-netns';
import { Arrivals, removeLeftNamespaces, TestNamespace, until } from './namespace.ts';

test.before(removeLeftNamespaces);

const KEEPALIVE = { timeMs: 180_000, intervalMs: 75_000, retries: 9 };

/** What `ss` says of the sockets of a namespace: timers, options, mark. */
const ss = (ns: TestNamespace) => ns.exec('ss', ['-tnoaeiH']);

test('keepalive, mark and congestion control are set at connect and later', async (t) => {
  using ns = new TestNamespace();
  using arrivals = new Arrivals<AcceptedSocket>();
  using listener = listenTcp(ns.netns, { ip: '127.0.0.1', port: 0, mark: 1337 }, arrivals.push);
  t.regex(ss(ns), /LISTEN.*fwmark:0x539/);
  const fd = await connectTcp(ns.netns, {
    to: listener.address,
    timeoutMs: 5_000,
    keepalive: KEEPALIVE,
    userTimeoutMs: 30_000,
    congestion: 'reno',
    mark: 0x222,
  });
  const accepted = await arrivals.next();
  t.regex(ss(ns), /timer:\(keepalive,[23]min/);
  t.regex(ss(ns), /fwmark:0x222/);
  t.regex(ss(ns), / reno /);
  t.is(ss(ns).match(/keepalive/g)?.length, 1, 'control: the accepted socket has none yet');
  setSocketOptions(accepted.fd, { keepalive: KEEPALIVE, userTimeoutMs: 1_000, noDelay: false, mark: 0x333 });
  t.is(ss(ns).match(/keepalive/g)?.length, 2);
  t.regex(ss(ns), /fwmark:0x333/);
  closeFd(accepted.fd);
  closeFd(fd);
});

test('options with a value that is none are refused, and a closed descriptor is EBADF', (t) => {
  using ns = new TestNamespace();
  using listener = listenTcp(ns.netns, { ip: '127.0.0.1', port: 0 }, () => undefined);
  const code = (f: () => unknown) => (t.throws(f) as NetnsError).code;
  t.is(
    code(() => setSocketOptions(listener.fd, { mark: -1 })),
    'EINVAL',
  );
  t.is(
    code(() => setSocketOptions(listener.fd, { keepalive: { ...KEEPALIVE, retries: 0 } })),
    'EINVAL',
  );
  t.is(
    code(() => setSocketOptions(99_999, { noDelay: true })),
    'EBADF',
  );
  t.is(
    code(() => tcpInfo(99_999)),
    'EBADF',
  );
  t.is(
    code(() => socketCookie(99_999)),
    'EBADF',
  );
  t.is(
    code(() => closeFd(99_999)),
    'EBADF',
  );
});

test('TCP_INFO counts the bytes both ways and knows the end of the peer', async (t) => {
  using ns = new TestNamespace();
  using arrivals = new Arrivals<AcceptedSocket>();
  using listener = listenTcp(ns.netns, { ip: '::1', port: 0 }, arrivals.push);
  const fd = await connectTcp(ns.netns, { to: listener.address, timeoutMs: 5_000 });
  const { fd: far } = await arrivals.next();
  t.is(tcpInfo(fd).state, 1);
  t.is(tcpInfo(far).bytesReceived, 0n);
  const client = new net.Socket({ fd, allowHalfOpen: true });
  client.write(Buffer.alloc(10_000));
  await until(() => tcpInfo(far).bytesReceived === 10_000n);
  await until(() => tcpInfo(fd).bytesAcked >= 10_000n);
  t.is(tcpInfo(fd).retransmits, 0);
  t.true(tcpInfo(fd).rttUs > 0);
  client.end();
  await until(() => tcpInfo(far).state === 8);
  client.destroy();
  closeFd(far);
});

test('every socket has a cookie of its own that does not change', (t) => {
  using ns = new TestNamespace();
  using a = listenTcp(ns.netns, { ip: '127.0.0.1', port: 0 }, () => undefined);
  using b = listenTcp(ns.netns, { ip: '127.0.0.1', port: 0 }, () => undefined);
  t.is(socketCookie(a.fd), socketCookie(a.fd));
  t.not(socketCookie(a.fd), socketCookie(b.fd));
});

for (const [ip, type] of [
  ['127.0.0.1', 'udp4'],
  ['::1', 'udp6'],
] as const) {
  test(`a datagram socket of a namespace answers there, and only there, over ${ip}`, async (t) => {
    using ns = new TestNamespace();
    const server = dgram.createSocket(type);
    server.bind({ fd: bindUdp(ns.netns, { ip, port: 0, mark: 1337 }) });
    const { port } = server.address();
    server.on('message', (data, from) => server.send(`echo ${data}`, from.port, from.address));
    const client = dgram.createSocket(type);
    client.bind({ fd: bindUdp(ns.netns, { ip, port: 0 }) });
    client.send('hi', port, ip);
    const [answer] = await once(client, 'message');
    t.is(String(answer), 'echo hi');
    t.regex(ns.exec('ss', ['-unaeH']), /fwmark:0x539/);
    t.is((t.throws(() => bindUdp(ns.netns, { ip, port })) as NetnsError).code, 'EADDRINUSE');
    closeFd(bindUdp(undefined, { ip, port: 0 }));
    client.close();
    server.close();
  });
}

test('two datagram sockets share a port when both ask for it', (t) => {
  using ns = new TestNamespace();
  const first = bindUdp(ns.netns, { ip: '127.0.0.1', port: 15_053, reusePort: true });
  const second = bindUdp(ns.netns, { ip: '127.0.0.1', port: 15_053, reusePort: true });
  t.not(first, second);
  closeFd(first);
  closeFd(second);
});

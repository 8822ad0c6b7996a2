/** The TCP sockets of a namespace as the kernel lists them, against what `ss` prints, and their end. */
import { Socket } from 'node:net';
import test from 'ava';
import { connectTcp, destroyTcpSocket, listenTcp, listTcpSockets, type TcpSocket } from 'culvert-netns';
import { removeLeftNamespaces, TestNamespace } from './namespace.ts';

test.before(removeLeftNamespaces);

/** A server and a client connected to it, as Node's sockets. */
async function connect(ns: TestNamespace, { ip, to = ip, mark }: { ip: string; to?: string; mark?: number }) {
  const accepted = Promise.withResolvers<Socket>();
  const listener = listenTcp(ns.netns, { ip, port: 0 }, ({ fd }) => accepted.resolve(new Socket({ fd })));
  const { port } = listener.address;
  const fd = await connectTcp(ns.netns, { to: { ip: to, port }, timeoutMs: 10_000, mark }, AbortSignal.timeout(10_000));
  const client = new Socket({ fd });
  const server = await accepted.promise;
  for (const socket of [client, server]) socket.on('error', () => {});
  return {
    port,
    client,
    server,
    [Symbol.dispose]() {
      listener[Symbol.dispose]();
      client.destroy();
      server.destroy();
    },
  };
}

const closed = (socket: Socket) => new Promise((resolve) => socket.once('close', resolve));

const ofPort = (sockets: readonly TcpSocket[], port: number) =>
  sockets
    .filter(({ local, remote }) => local.port === port || remote.port === port)
    .map(({ state, local, remote, mark }) => ({ state, local, remote, mark }));

for (const [ip, to] of [
  ['127.0.0.1', '127.0.0.1'],
  ['::1', '::1'],
  ['::', '127.0.0.1'],
] as const) {
  test(`both ends of a connection and the listener are listed: ${to} by ${ip}`, async (t) => {
    using ns = new TestNamespace();
    using pair = await connect(ns, { ip, to, mark: 0x111 });
    const own = { ip: to, port: pair.client.localPort ?? 0 };
    const far = { ip: to, port: pair.port };
    const sockets = ofPort(listTcpSockets(ns.netns), pair.port);
    t.is(sockets.length, 3);
    t.deepEqual(
      sockets.find(({ state }) => state === 'LISTEN'),
      {
        state: 'LISTEN',
        local: { ip, port: pair.port },
        remote: { ip: ip.includes(':') ? '::' : '0.0.0.0', port: 0 },
        mark: 0,
      },
    );
    t.deepEqual(
      sockets.find(({ local, state }) => state === 'ESTABLISHED' && local.port === own.port),
      { state: 'ESTABLISHED', local: own, remote: far, mark: 0x111 },
    );
    t.like(
      sockets.find(({ local, state }) => state === 'ESTABLISHED' && local.port === pair.port),
      { local: far, remote: own },
    );
    t.is(ns.exec('ss', ['-tanH']).trim().split('\n').length, sockets.length, 'ss sees as many');
  });

  test(`a connection is ended at both ends, its listener is not: ${to} by ${ip}`, async (t) => {
    using ns = new TestNamespace();
    using pair = await connect(ns, { ip, to });
    using other = await connect(ns, { ip, to });
    const { localPort } = pair.client;
    const found = listTcpSockets(ns.netns).find(({ local }) => local.port === localPort);
    if (!found) return t.fail();
    pair.server.resume();
    const ended = Promise.all([closed(pair.client), closed(pair.server)]);
    pair.client.resume();
    destroyTcpSocket(ns.netns, found);
    await ended;
    t.notThrows(() => destroyTcpSocket(ns.netns, found), 'one that has ended is no error');
    t.is(ofPort(listTcpSockets(ns.netns), pair.port).filter(({ state }) => state === 'LISTEN').length, 1);
    t.true(other.client.writable && other.server.writable);
  });
}

test('a connection that took the addresses of one that ended is not met', async (t) => {
  using ns = new TestNamespace();
  using pair = await connect(ns, { ip: '127.0.0.1' });
  using other = await connect(ns, { ip: '127.0.0.1' });
  const sockets = listTcpSockets(ns.netns);
  const [one, two] = [pair, other].map(({ client }) => sockets.find((s) => s.local.port === client.localPort));
  if (!one || !two) return t.fail();
  // the addresses of one with the cookie of the other: what is left of an id when its connection was replaced
  const COOKIE_BYTES = 8;
  const stale = Buffer.concat([one.id.subarray(0, -COOKIE_BYTES), two.id.subarray(-COOKIE_BYTES)]);
  destroyTcpSocket(ns.netns, { id: stale });
  const left = listTcpSockets(ns.netns).filter(({ state }) => state === 'ESTABLISHED');
  t.is(left.length, 4, 'both are still there, at both ends');
  t.throws(() => destroyTcpSocket(ns.netns, { id: new Uint8Array(3) }));
});

test('a thousand sockets are all listed', async (t) => {
  using ns = new TestNamespace();
  const listeners = Array.from({ length: 1_000 }, (_, i) =>
    listenTcp(ns.netns, { ip: '127.0.0.1', port: 20_000 + i }, () => {}),
  );
  t.is(listTcpSockets(ns.netns).length, 1_000);
  for (const listener of listeners) listener[Symbol.dispose]();
  t.is(listTcpSockets(ns.netns).length, 0);
});

/** TCP listeners and connections inside namespaces, IPv4 and IPv6. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import {
  type AcceptedSocket,
  addRule,
  closeFd,
  connectTcp,
  listenTcp,
  localAddress,
  NetnsError,
  remoteAddress,
  replaceLocalRoute,
  resetOnClose,
  writeSysctl,
} from 'culvert-netns';
import { Arrivals, openDescriptors, removeLeftNamespaces, TestNamespace, until } from './namespace.ts';

test.before(removeLeftNamespaces);

const stream = (fd: number) => new net.Socket({ fd, allowHalfOpen: true });

async function readAll(socket: net.Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'end');
  return Buffer.concat(chunks).toString();
}

async function rejection(t: ExecutionContext, promise: Promise<unknown>): Promise<NetnsError> {
  const error = await t.throwsAsync(promise);
  if (error instanceof NetnsError) return error;
  throw error;
}

const LOOPBACKS = ['127.0.0.1', '::1'];

for (const ip of LOOPBACKS) {
  test(`bytes travel both ways, and half-close on its own, over ${ip}`, async (t) => {
    using ns = new TestNamespace();
    using arrivals = new Arrivals<AcceptedSocket>();
    using listener = listenTcp(ns.netns, { ip, port: 0 }, arrivals.push);
    t.is(listener.address.ip, ip);
    const fd = await connectTcp(ns.netns, { to: listener.address, timeoutMs: 5_000, noDelay: true });
    const accepted = await arrivals.next();
    t.deepEqual(accepted.local, listener.address);
    t.deepEqual(accepted.remote, localAddress(fd));
    t.deepEqual(remoteAddress(fd), listener.address);
    const client = stream(fd);
    const server = stream(accepted.fd);
    const closed = Promise.all([once(client, 'close'), once(server, 'close')]);
    client.end('question');
    t.is(await readAll(server), 'question');
    server.end('answer after the end of the question');
    t.is(await readAll(client), 'answer after the end of the question');
    await closed;
  });

  test(`a large answer to a slow reader arrives whole over ${ip}`, async (t) => {
    using ns = new TestNamespace();
    using arrivals = new Arrivals<AcceptedSocket>();
    using listener = listenTcp(ns.netns, { ip, port: 0 }, arrivals.push);
    const client = stream(await connectTcp(ns.netns, { to: listener.address, timeoutMs: 5_000 }));
    const server = stream((await arrivals.next()).fd);
    const payload = Buffer.alloc(8 * 1024 * 1024, 'culvert ');
    server.end(payload);
    const chunks: Buffer[] = [];
    for await (const chunk of client) chunks.push(chunk);
    t.true(Buffer.concat(chunks).equals(payload));
    client.destroy();
    server.destroy();
  });

  test(`nobody listens: ECONNREFUSED over ${ip}`, async (t) => {
    using ns = new TestNamespace();
    const error = await rejection(t, connectTcp(ns.netns, { to: { ip, port: 9 }, timeoutMs: 5_000 }));
    t.is(error.code, 'ECONNREFUSED');
    t.is(error.syscall, 'connect');
  });

  test(`a taken port is EADDRINUSE, with reusePort it is shared, over ${ip}`, (t) => {
    using ns = new TestNamespace();
    using first = listenTcp(ns.netns, { ip, port: 0, reusePort: true }, () => undefined);
    using second = listenTcp(ns.netns, { ip, port: first.address.port, reusePort: true }, () => undefined);
    t.is(second.address.port, first.address.port);
    const error = t.throws(() => listenTcp(ns.netns, { ip, port: first.address.port }, () => undefined));
    t.true(error instanceof NetnsError && error.code === 'EADDRINUSE');
  });
}

test('control: what listens inside a namespace cannot be reached from outside', async (t) => {
  using ns = new TestNamespace();
  using arrivals = new Arrivals<AcceptedSocket>();
  using listener = listenTcp(ns.netns, { ip: '127.0.0.1', port: 0 }, arrivals.push);
  const error = await rejection(t, connectTcp(undefined, { to: listener.address, timeoutMs: 5_000 }));
  t.is(error.code, 'ECONNREFUSED');
  t.is(arrivals.size, 0);
});

test('a listener on :: takes IPv4 and shows it as IPv4, with ipv6Only it refuses it', async (t) => {
  using ns = new TestNamespace();
  using arrivals = new Arrivals<AcceptedSocket>();
  using both = listenTcp(ns.netns, { ip: '::', port: 0 }, arrivals.push);
  const fd = await connectTcp(ns.netns, { to: { ip: '127.0.0.1', port: both.address.port }, timeoutMs: 5_000 });
  const accepted = await arrivals.next();
  t.is(accepted.remote.ip, '127.0.0.1');
  t.is(accepted.local.ip, '127.0.0.1');
  closeFd(accepted.fd);
  closeFd(fd);
  using only = listenTcp(ns.netns, { ip: '::', port: 0, ipv6Only: true }, arrivals.push);
  const to = { ip: '127.0.0.1', port: only.address.port };
  t.is((await rejection(t, connectTcp(ns.netns, { to, timeoutMs: 5_000 }))).code, 'ECONNREFUSED');
});

for (const ip of ['10.99.0.2', 'fd99::2']) {
  test.serial(`no answer: ETIMEDOUT at the deadline, ECANCELED on abort, no descriptor left, ${ip}`, async (t) => {
    using ns = new TestNamespace();
    ns.addBlackHole();
    const before = openDescriptors().size;
    const to = { ip, port: 80 };
    t.is((await rejection(t, connectTcp(ns.netns, { to, timeoutMs: 30 }))).code, 'ETIMEDOUT');
    const abort = new AbortController();
    const pending = connectTcp(ns.netns, { to, timeoutMs: 60_000 }, abort.signal);
    const reason = new Error('not needed any more');
    setImmediate(() => abort.abort(reason));
    const error = await rejection(t, pending);
    t.is(error.code, 'ECANCELED');
    t.is(error.cause, reason);
    t.is((await rejection(t, connectTcp(ns.netns, { to, timeoutMs: 1 }, abort.signal))).code, 'ECANCELED');
    t.is(openDescriptors().size, before);
  });
}

for (const ip of LOOPBACKS) {
  test(`a reset is seen as a reset, a plain close as an end, over ${ip}`, async (t) => {
    using ns = new TestNamespace();
    using arrivals = new Arrivals<AcceptedSocket>();
    using listener = listenTcp(ns.netns, { ip, port: 0 }, arrivals.push);
    const reset = stream(await connectTcp(ns.netns, { to: listener.address, timeoutMs: 5_000 }));
    const first = await arrivals.next();
    resetOnClose(first.fd);
    closeFd(first.fd);
    reset.resume();
    const [error] = await once(reset, 'error').catch((cause) => [cause]);
    t.is(error.code, 'ECONNRESET');

    const ended = stream(await connectTcp(ns.netns, { to: listener.address, timeoutMs: 5_000 }));
    closeFd((await arrivals.next()).fd);
    t.is(await readAll(ended), '');
    ended.destroy();
  });
}

test.serial('after dispose nothing is accepted, the port is free and the descriptor closed', async (t) => {
  using ns = new TestNamespace();
  using arrivals = new Arrivals<AcceptedSocket>();
  const listener = listenTcp(ns.netns, { ip: '127.0.0.1', port: 0 }, arrivals.push);
  const { fd, address } = listener;
  listener[Symbol.dispose]();
  listener[Symbol.dispose]();
  t.false(openDescriptors().get(fd)?.startsWith('socket:') ?? false);
  t.is((await rejection(t, connectTcp(ns.netns, { to: address, timeoutMs: 5_000 }))).code, 'ECONNREFUSED');
  using again = listenTcp(ns.netns, { ip: '127.0.0.1', port: address.port }, arrivals.push);
  t.is(again.address.port, address.port);
  t.is(arrivals.size, 0);
});

test('a listener outlives the handle it was made with', async (t) => {
  using ns = new TestNamespace();
  using arrivals = new Arrivals<AcceptedSocket>();
  const handle = ns.netns.duplicate();
  using listener = listenTcp(handle, { ip: '127.0.0.1', port: 0 }, arrivals.push);
  handle[Symbol.dispose]();
  const fd = await connectTcp(ns.netns, { to: listener.address, timeoutMs: 5_000 });
  closeFd((await arrivals.next()).fd);
  closeFd(fd);
  t.pass();
});

test('three hundred connections at once are all accepted', async (t) => {
  using ns = new TestNamespace();
  using arrivals = new Arrivals<AcceptedSocket>();
  using listener = listenTcp(ns.netns, { ip: '127.0.0.1', port: 0, backlog: 512 }, arrivals.push);
  const dial = () => connectTcp(ns.netns, { to: listener.address, timeoutMs: 20_000 });
  const fds = await Promise.all(Array.from({ length: 300 }, dial));
  await until(() => arrivals.size === 300);
  for (const fd of fds) closeFd(fd);
  t.is(listener.pauses, 0);
});

const REDIRECT = `
table inet capture {
  chain out {
    type nat hook output priority -100
    ip daddr 203.0.113.7 tcp dport 80 redirect to :15001
    ip6 daddr 2001:db8::7 tcp dport 80 redirect to :15001
  }
}
`;

test('the original destination of a redirected connection is known, IPv4 and IPv6', async (t) => {
  using ns = new TestNamespace();
  ns.addBlackHole();
  ns.ip('route', 'add', 'default', 'via', '10.99.0.2');
  ns.ip('-6', 'route', 'add', 'default', 'via', 'fd99::2');
  ns.exec('/usr/sbin/nft', ['-f', '-'], REDIRECT); // a package of npm has a program `nft` too
  using arrivals = new Arrivals<AcceptedSocket>();
  using _listener = listenTcp(ns.netns, { ip: '::', port: 15_001 }, arrivals.push);
  for (const ip of ['203.0.113.7', '2001:db8::7']) {
    const fd = await connectTcp(ns.netns, { to: { ip, port: 80 }, timeoutMs: 5_000 });
    const accepted = await arrivals.next();
    t.deepEqual(accepted.originalDestination, { ip, port: 80 });
    t.is(accepted.local.port, 15_001);
    closeFd(accepted.fd);
    closeFd(fd);
  }
});

for (const [family, server, source] of [
  [4, '10.99.0.1', '192.0.2.9'],
  [6, 'fd99::1', '2001:db8::9'],
] as const) {
  test(`the server sees the source address that was chosen, IPv${family}`, async (t) => {
    using ns = new TestNamespace();
    ns.addBlackHole();
    addRule(ns.netns, { family, fwmark: 0x111, mask: 0xfff, table: 100, priority: 32_764 });
    replaceLocalRoute(ns.netns, { family, table: 100 });
    writeSysctl(ns.netns, 'net.ipv4.tcp_fwmark_accept', '1');
    using arrivals = new Arrivals<AcceptedSocket>();
    using listener = listenTcp(ns.netns, { ip: server, port: 0 }, arrivals.push);
    const options = { to: listener.address, fromIp: source, timeoutMs: 5_000, mark: 0x111 };
    const fd = await connectTcp(ns.netns, { ...options, transparent: true });
    const accepted = await arrivals.next();
    t.is(accepted.remote.ip, source);
    closeFd(accepted.fd);
    closeFd(fd);
    const refused = await rejection(t, connectTcp(ns.netns, options));
    t.is(refused.code, 'EADDRNOTAVAIL');
    t.is(refused.syscall, 'bind');
    const other = family === 4 ? '::1' : '127.0.0.1';
    t.is((await rejection(t, connectTcp(ns.netns, { ...options, fromIp: other }))).code, 'EAFNOSUPPORT');
  });
}

test('an unknown congestion control is refused at set-up, a known one is taken', async (t) => {
  using ns = new TestNamespace();
  const options = { ip: '127.0.0.1', port: 0 };
  const error = t.throws(() => listenTcp(ns.netns, { ...options, congestion: 'no-such' }, () => undefined));
  t.is(error instanceof NetnsError && error.syscall, 'setsockopt');
  using listener = listenTcp(ns.netns, { ...options, congestion: 'reno' }, () => undefined);
  t.truthy(listener.address.port);
});

test('out of descriptors a listener pauses, is counted, and goes on when some are free', async (t) => {
  const script = new URL('./exhausted-listener.ts', import.meta.url).pathname;
  const shell = `ulimit -n 64 && exec "${process.execPath}" "${script}"`;
  const { stdout } = await promisify(execFile)('bash', ['-c', shell], { timeout: 30_000 });
  const { pauses, acceptedWhileFull, acceptedAfter } = JSON.parse(stdout);
  t.true(pauses >= 2);
  t.is(acceptedWhileFull, 0);
  t.is(acceptedAfter, 1);
});

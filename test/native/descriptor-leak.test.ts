/** Ten thousand open and close cycles of everything that owns a descriptor leave none behind. */
import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  type AcceptedSocket,
  bindUdp,
  closeFd,
  connectTcp,
  listenTcp,
  localAddresses,
  Netns,
  resetOnClose,
  SeqpacketServer,
  SeqpacketSocket,
} from 'culvert-netns';
import { Arrivals, openDescriptors, removeLeftNamespaces, TestNamespace } from './namespace.ts';

test.before(removeLeftNamespaces);

const CYCLES = 10_000;

/** Runs the cycle once to warm up, then often, and compares all descriptors, one by one. */
async function leavesNone(t: ExecutionContext, cycles: number, cycle: (i: number) => Promise<void> | void) {
  await cycle(0);
  const before = openDescriptors();
  for (let i = 1; i <= cycles; i++) await cycle(i);
  t.deepEqual([...openDescriptors()], [...before]);
}

test.serial('control: a descriptor that is kept is found', async (t) => {
  const kept: number[] = [];
  const attempt = await t.try((inner) =>
    leavesNone(inner, 3, (i) => {
      if (i === 2) kept.push(openSync('/dev/null', 'r'));
    }),
  );
  attempt.discard();
  for (const fd of kept) closeFd(fd);
  t.false(attempt.passed);
});

test.serial('handles, listeners and datagram sockets', async (t) => {
  using ns = new TestNamespace();
  await leavesNone(t, CYCLES, (i) => {
    using netns = i % 2 ? Netns.open(ns.path) : ns.netns.duplicate();
    using _listener = listenTcp(netns, { ip: i % 2 ? '127.0.0.1' : '::1', port: 0 }, () => undefined);
    closeFd(bindUdp(netns, { ip: '127.0.0.1', port: 0 }));
    localAddresses(netns);
    netns.cookie();
  });
});

test.serial('connections, accepted and refused', async (t) => {
  using ns = new TestNamespace();
  using arrivals = new Arrivals<AcceptedSocket>();
  using listener = listenTcp(ns.netns, { ip: '127.0.0.1', port: 0 }, arrivals.push);
  const refused = { ip: '127.0.0.1', port: 9 };
  await leavesNone(t, CYCLES, async (i) => {
    if (i % 10 === 0) return void (await t.throwsAsync(connectTcp(ns.netns, { to: refused, timeoutMs: 5_000 })));
    const fd = await connectTcp(ns.netns, { to: listener.address, timeoutMs: 5_000 });
    const accepted = await arrivals.next();
    resetOnClose(fd); // no TIME_WAIT: ten thousand would use the ports up
    closeFd(fd);
    closeFd(accepted.fd);
  });
});

test.serial('descriptors passed between sockets', async (t) => {
  using ns = new TestNamespace();
  const directory = mkdtempSync(join(tmpdir(), 'cvt-leak-'));
  await using server = await SeqpacketServer.listen(join(directory, 's.sock'), 0o600);
  await leavesNone(t, CYCLES, async (i) => {
    await using near = await SeqpacketSocket.connect(server.path);
    await using far = await server.accept();
    if (i % 3 === 0) return; // closed before a message
    await near.send(Buffer.from('add'), ns.netns.fd);
    if (i % 3 === 1) return; // closed with the message unread
    const message = await far?.receive();
    using _received = Netns.adopt(message?.fds[0] ?? -1);
  });
  rmSync(directory, { recursive: true, force: true });
});

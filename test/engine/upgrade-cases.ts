/** One engine takes over from another that listens at the same address: what was accepted is served, nobody is refused. */
import { Socket } from 'node:net';
import anyTest, { type TestFn } from 'ava';
import { connectTcp, listenTcp, writeSysctl } from 'culvert-netns';
import { selfIssuing } from '../../src/pki/index.ts';
import { TestNamespace } from '../native/namespace.ts';
import { eventually } from '../support/eventually.ts';
import { forwardTo, NEVER, tunnelTo } from './pair.ts';
import { dial, echo, readAll, startApplication, startRawServer } from './peers.ts';
import { type EngineFactory, newAuthority, type Rig, SERVER, startRig } from './rig.ts';

/** One after the other: a case must not wait for what another one loads this process with. */
const test = (anyTest as TestFn).serial;
const DRAIN_LIMIT_MS = 20_000;
const CALLERS = 8;
const CALLS = 60;

export function registerUpgradeCases(create: EngineFactory): void {
  test('a connection that was accepted before a drain is decided and carried', async (t) => {
    await using application = await startApplication(echo);
    const authority = await newAuthority();
    await using server = await startRig(create, { inboundHbone: () => forwardTo(application.port) }, { authority });
    const inbound = await server.listen('inbound-hbone');
    const asked = Promise.withResolvers<void>();
    const mayDecide = Promise.withResolvers<void>();
    await using client = await startRig(
      create,
      {
        outbound: async () => {
          asked.resolve();
          await mayDecide.promise;
          return tunnelTo(inbound.port);
        },
      },
      { authority },
    );
    const socket = await dial((await client.listen('outbound')).port);
    socket.end('late');
    await asked.promise;
    const drained = client.engine.drain('pod', DRAIN_LIMIT_MS);
    mayDecide.resolve();
    t.is(String(await readAll(socket)), 'late');
    await drained;
  });

  test('a peer that goes away before it took a stream is asked again, on a fresh session too', async (t) => {
    const authority = await newAuthority();
    let sessions = 0;
    await using peer = await startRawServer(await selfIssuing(authority).fetch(SERVER, NEVER), (stream) => {
      stream.respond({ ':status': 200 });
      stream.pipe(stream);
    });
    peer.server.on('session', (session) => {
      sessions += 1;
      if (sessions <= 2) session.once('remoteSettings', () => session.close());
    });
    await using client = await startRig(create, { outbound: () => tunnelTo(peer.port) }, { authority });
    const socket = await dial((await client.listen('outbound')).port);
    socket.end('heard');
    t.is(String(await readAll(socket)), 'heard');
    t.is(sessions, 3);
  });

  for (const isPassedOn of [true, false]) {
    const title = isPassedOn
      ? 'no call fails while an engine takes over the sessions of another'
      : 'control: without a successor calls fail';
    test(title, async (t) => {
      using namespace = new TestNamespace();
      namespace.ip('link', 'set', 'lo', 'up');
      writeSysctl(namespace.netns, 'net.ipv4.tcp_migrate_req', '1');
      using application = listenTcp(namespace.netns, { ip: '127.0.0.1', port: 0 }, ({ fd }) => {
        const socket = new Socket({ fd, allowHalfOpen: true });
        socket.on('error', () => {});
        echo(socket);
      });
      const authority = await newAuthority();
      const startServer = (): Promise<Rig> =>
        startRig(create, { inboundHbone: () => forwardTo(application.address.port) }, { authority });
      await using old = await startServer();
      await using next = await startServer();
      const { port } = await listenShared(old, namespace, 0);
      const peer = { ip: '127.0.0.1', port };
      await using client = await startRig(
        create,
        { outbound: () => ({ ...tunnelTo(port), session: { ...tunnelTo(port).session, peer } }) },
        { authority },
      );
      const outbound = await client.engine.listen({
        kind: 'outbound',
        netns: namespace.netns,
        owner: 'pod',
        ip: '127.0.0.1',
        port: 0,
        reusePort: false,
        transparent: false,
      });
      const failures: string[] = [];
      let done = 0;
      const callers = Array.from({ length: CALLERS }, async () => {
        for (let i = 0; i < CALLS; i++) {
          await callOnce(namespace, outbound.port).catch((error: Error) => failures.push(error.message));
          done += 1;
        }
      });
      await eventually(() => done >= (CALLERS * CALLS) / 4, 'the first calls');
      if (isPassedOn) await listenShared(next, namespace, port);
      const drained = old.engine.drain('pod', DRAIN_LIMIT_MS);
      await Promise.all(callers);
      await drained;
      if (isPassedOn) t.deepEqual(failures, []);
      else t.true(failures.length > 0);
      t.is(next.streams.length > 0, isPassedOn);
    });
  }
}

/** Several engines may listen on the same port. */
function listenShared(rig: Rig, { netns }: TestNamespace, port: number) {
  return rig.engine.listen({
    kind: 'inbound-hbone',
    netns,
    owner: 'pod',
    ip: '127.0.0.1',
    port,
    reusePort: true,
    transparent: false,
  });
}

async function callOnce({ netns }: TestNamespace, port: number): Promise<void> {
  const fd = await connectTcp(netns, { to: { ip: '127.0.0.1', port }, timeoutMs: 10_000 });
  const socket = new Socket({ fd, allowHalfOpen: true });
  socket.on('error', () => {});
  socket.end('ping');
  const heard = String(await readAll(socket));
  if (heard !== 'ping') throw new Error(`heard "${heard}"`);
}

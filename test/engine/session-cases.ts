/** HBONE sessions: who may be at either end, limits, GOAWAY and tunnels inside tunnels. Registered by `registerEngineSuite`. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import anyTest, { type TestFn } from 'ava';
import { closeFd, connectTcp } from 'culvert-netns';
import { type Identity, identityUri } from '../../src/model/identity.ts';
import { selfIssuing } from '../../src/pki/index.ts';
import { TestNamespace } from '../native/namespace.ts';
import { eventually } from '../support/eventually.ts';
import { digest, forwardTo, NEVER, soleOutcome, tunnelTo } from './pair.ts';
import { dial, echo, howItEnds, openRawSession, readAll, request, startApplication, startRawServer } from './peers.ts';
import { CLIENT, type EngineFactory, newAuthority, SERVER, startRig } from './rig.ts';

/** One after the other: a case must not wait for what another one loads this process with. */
const test = (anyTest as TestFn).serial;

export function registerSessionCases(create: EngineFactory): void {
  const strangers: readonly [
    string,
    { trustDomain?: string; identity?: Identity; ttl?: number; foreignRoot?: true },
  ][] = [
    ['of another trust domain', { identity: { ...CLIENT, trustDomain: 'elsewhere' } }],
    ['of another root', { foreignRoot: true }],
  ];
  for (const [what, { identity = CLIENT, foreignRoot }] of strangers) {
    test(`a client ${what} delivers nothing`, async (t) => {
      await using rig = await startRig(create, {});
      const listener = await rig.listen('inbound-hbone');
      const issuer = foreignRoot ? await newAuthority() : rig.authority;
      const session = await openRawSession(listener.port, await selfIssuing(issuer).fetch(identity, NEVER));
      await t.throwsAsync(request(session, '10.0.0.1:80'));
      t.is(rig.streams.length, 0);
      await eventually(() => rig.failures.length === 1, 'the failure to be told');
      t.is(rig.failures[0]?.flag, 'TLS_FAILURE');
      session.destroy();
    });
  }

  test('a client without a certificate delivers nothing', async (t) => {
    await using rig = await startRig(create, {});
    const listener = await rig.listen('inbound-hbone');
    const session = await openRawSession(listener.port);
    await t.throwsAsync(request(session, '10.0.0.1:80'));
    t.is(rig.streams.length, 0);
    await eventually(() => rig.failures.length === 1, 'the failure to be told');
    session.destroy();
  });

  test('plain text to the HBONE port is closed and told', async (t) => {
    await using rig = await startRig(create, {});
    const listener = await rig.listen('inbound-hbone');
    const socket = await dial(listener.port);
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await howItEnds(socket);
    await eventually(() => rig.failures.length === 1, 'the failure to be told');
    t.is(rig.failures[0]?.flag, 'TLS_FAILURE');
  });

  const servers: readonly [string, Identity, boolean][] = [
    ['the expected server is sent to', SERVER, true],
    ['another server is not sent to', { ...SERVER, serviceAccount: 'other' }, false],
    ['the same account of another trust domain is not sent to', { ...SERVER, trustDomain: 'elsewhere' }, false],
  ];
  for (const [title, identity, reaches] of servers) {
    test(title, async (t) => {
      const authority = await newAuthority();
      let streams = 0;
      await using peer = await startRawServer(await selfIssuing(authority).fetch(identity, NEVER), (stream) => {
        streams += 1;
        stream.respond({ ':status': 200 });
        stream.pipe(stream);
      });
      await using client = await startRig(create, { outbound: () => tunnelTo(peer.port) }, { authority });
      const listener = await client.listen('outbound');
      const socket = await dial(listener.port);
      socket.end('secret');
      const heard = await readAll(socket).catch(() => Buffer.alloc(0));
      t.is(String(heard), reaches ? 'secret' : '');
      t.is(streams, reaches ? 1 : 0);
      const outcome = await soleOutcome(client);
      t.is(outcome.flag, reaches ? '-' : 'TLS_FAILURE');
      if (!reaches) t.regex(outcome.error ?? '', /peer did not present the expected SAN/);
    });
  }

  test('an empty list of expected identities accepts nobody', async (t) => {
    const authority = await newAuthority();
    await using peer = await startRawServer(await selfIssuing(authority).fetch(SERVER, NEVER), () => {});
    await using client = await startRig(create, { outbound: () => tunnelTo(peer.port, []) }, { authority });
    await howItEnds(await dial((await client.listen('outbound')).port));
    t.is((await soleOutcome(client)).flag, 'TLS_FAILURE');
  });

  for (const isReachable of [true, false]) {
    const title = isReachable
      ? 'control: a peer that refuses is told as such'
      : 'a peer that never answers is told as blocked';
    test(title, async (t) => {
      using namespace = new TestNamespace();
      namespace.addBlackHole();
      const peer = { ip: isReachable ? '10.99.0.1' : '10.99.0.2', port: 15_008 };
      const decision = tunnelTo(peer.port);
      await using rig = await startRig(
        create,
        { outbound: () => ({ ...decision, session: { ...decision.session, peer } }) },
        { connectTimeoutMs: 300 },
      );
      const listener = await rig.engine.listen({
        kind: 'outbound',
        netns: namespace.netns,
        owner: 'pod',
        ip: '127.0.0.1',
        port: 0,
        reusePort: false,
        transparent: false,
      });
      const to = { ip: '127.0.0.1', port: listener.port };
      const fd = await connectTcp(namespace.netns, { to, timeoutMs: 10_000 });
      const outcome = await soleOutcome(rig);
      closeFd(fd);
      t.is(outcome.flag, isReachable ? 'CONNECT' : 'NETWORK_POLICY');
      t.is(
        outcome.error,
        isReachable
          ? 'io error: Connection refused (os error 111)'
          : 'connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: 10.99.0.2:15008',
      );
    });
  }

  test('an answer other than 200 closes the application and names the status', async (t) => {
    const authority = await newAuthority();
    await using peer = await startRawServer(await selfIssuing(authority).fetch(SERVER, NEVER), (stream) =>
      stream.respond({ ':status': 401 }, { endStream: true }),
    );
    await using client = await startRig(create, { outbound: () => tunnelTo(peer.port) }, { authority });
    await howItEnds(await dial((await client.listen('outbound')).port));
    const outcome = await soleOutcome(client);
    t.is(outcome.error, 'http status: 401 Unauthorized');
    t.is(outcome.flag, 'CONNECT');
  });

  test('the peer’s stream limit is kept by opening more sessions', async (t) => {
    const authority = await newAuthority();
    const perSession = new Map<unknown, number>();
    await using peer = await startRawServer(
      await selfIssuing(authority).fetch(SERVER, NEVER),
      (stream) => {
        perSession.set(stream.session, (perSession.get(stream.session) ?? 0) + 1);
        stream.respond({ ':status': 200 });
        stream.write('x');
      },
      { maxConcurrentStreams: 3 },
    );
    await using client = await startRig(create, { outbound: () => tunnelTo(peer.port) }, { authority });
    const listener = await client.listen('outbound');
    for (let i = 0; i < 7; i++) await once(await dial(listener.port), 'data');
    t.deepEqual([...perSession.values()], [3, 3, 1]);
  });

  test('after GOAWAY new streams take a new session and open ones go on', async (t) => {
    const authority = await newAuthority();
    const sessions = new Set<unknown>();
    await using peer = await startRawServer(await selfIssuing(authority).fetch(SERVER, NEVER), (stream) => {
      sessions.add(stream.session);
      stream.respond({ ':status': 200 });
      stream.pipe(stream);
      stream.write('x');
    });
    await using client = await startRig(create, { outbound: () => tunnelTo(peer.port) }, { authority });
    const listener = await client.listen('outbound');
    const first = await dial(listener.port);
    await once(first, 'data');
    for (const session of sessions) (session as { close(): void }).close();
    await eventually(async () => {
      const socket = await dial(listener.port);
      await once(socket, 'data');
      socket.destroy();
      return sessions.size === 2;
    }, 'a second session');
    first.write('still here');
    const [answer] = (await once(first, 'data')) as [Buffer];
    t.is(String(answer), 'still here');
  });

  test('a dial that gets no certificate is told as an identity error', async (t) => {
    await using client = await startRig(create, {
      outbound: () => tunnelTo(1),
      credentials: () => Promise.reject(new Error('the authority is away')),
    });
    await using application = await startApplication(() => {});
    const listener = await client.listen('outbound');
    await howItEnds(await dial(listener.port));
    t.is((await soleOutcome(client)).flag, 'CONNECT', 'nothing listens on port 1: the dial failed first');
    await using withPeer = await startRig(create, {
      outbound: () => tunnelTo(application.port),
      credentials: () => Promise.reject(new Error('the authority is away')),
    });
    await howItEnds(await dial((await withPeer.listen('outbound')).port));
    const outcome = await soleOutcome(withPeer);
    t.is(outcome.flag, 'IDENTITY_ERROR');
    t.regex(outcome.error ?? '', /the authority is away/);
  });

  test('a tunnel inside a tunnel carries bytes and reports the inner answer', async (t) => {
    const authority = await newAuthority();
    await using application = await startApplication(echo);
    await using server = await startRig(
      create,
      { inboundHbone: () => ({ ...forwardTo(application.port), responseHeaders: { baggage: 'service.name=inner' } }) },
      { authority },
    );
    const inner = await server.listen('inbound-hbone');
    await using gateway = await startRig(create, { inboundHbone: () => forwardTo(inner.port) }, { authority });
    const outer = await gateway.listen('inbound-hbone');
    const { session, connect } = tunnelTo(outer.port);
    await using client = await startRig(
      create,
      {
        outbound: () => ({
          action: 'double-hbone',
          session,
          connect,
          innerExpectedIdentities: [identityUri(SERVER)],
          innerConnect: { authority: 'db.shop.svc.cluster.local:80', headers: { 'x-forwarded-network': 'west' } },
        }),
      },
      { authority },
    );
    const data = randomBytes(3_000_000);
    const socket = await dial((await client.listen('outbound')).port);
    socket.end(data);
    t.is(digest(await readAll(socket)), digest(data));
    t.is(server.streams[0]?.authority, 'db.shop.svc.cluster.local:80');
    t.deepEqual(server.streams[0]?.headers['x-forwarded-network'], ['west']);
    t.is((await soleOutcome(client)).responseHeaders?.baggage, 'service.name=inner');
  });
}

/**
 * What every engine must do, asserted from the applications and raw HBONE peers at both ends. `registerEngineSuite`
 * runs all of it against the engine it is given; each refusal stands beside the same call being accepted.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { constants, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import anyTest, { type TestFn } from 'ava';
import type { ForwardHbone, ForwardPlain, InboundDecision } from '../../src/engine/index.ts';
import { type Identity, identityUri } from '../../src/model/identity.ts';
import { selfIssuing } from '../../src/pki/index.ts';
import { eventually } from '../support/eventually.ts';
import { registerHostilePeers } from './hostile-peers.ts';
import {
  type Application,
  dial,
  echo,
  howItEnds,
  openRawSession,
  readAll,
  request,
  startApplication,
  startRawServer,
} from './peers.ts';
import { registerRevocation } from './revocation.ts';
import { CLIENT, type EngineFactory, newAuthority, type Rig, type Script, SERVER, startRig } from './rig.ts';

/** One after the other: a case must not wait for what another one loads this process with. */
const test = (anyTest as TestFn).serial;
const NEVER = new AbortController().signal;
/** Short connections through one pair; more in a soak. */
const SHORT_CONNECTIONS = Number(process.env.CULVERT_SHORT_CONNECTIONS ?? 5_000);

const forwardTo = (port: number): ForwardPlain => ({ action: 'forward', to: { ip: '127.0.0.1', port } });

const tunnelTo = (port: number, expected: readonly string[] = [identityUri(SERVER)]): ForwardHbone => ({
  action: 'hbone',
  session: { identity: CLIENT, expectedIdentities: expected, peer: { ip: '127.0.0.1', port }, sourceIp: '127.0.0.1' },
  connect: { authority: '10.0.0.1:80', headers: { baggage: 'k8s.namespace.name=shop' } },
});

interface Pair extends AsyncDisposable {
  readonly client: Rig;
  readonly server: Rig;
  /** Connect here to reach the application through both engines. */
  readonly port: number;
}

async function startPair(
  create: EngineFactory,
  application: Pick<Application, 'port'>,
  script: Script = {},
): Promise<Pair> {
  const authority = await newAuthority();
  const server = await startRig(create, { inboundHbone: () => forwardTo(application.port), ...script }, { authority });
  const inbound = await server.listen('inbound-hbone');
  const client = await startRig(create, { outbound: () => tunnelTo(inbound.port) }, { authority });
  const outbound = await client.listen('outbound');
  return {
    client,
    server,
    port: outbound.port,
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

const digest = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
const soleOutcome = async (rig: Rig) => {
  await eventually(() => rig.outcomes.size === 1, 'one connection to end');
  return [...rig.outcomes.values()][0]!; // size is 1
};

export function registerEngineSuite(create: EngineFactory): void {
  registerHostilePeers(create);
  registerRevocation(create);
  test('bytes arrive exact both ways while both sides push back', async (t) => {
    await using application = await startApplication(echo);
    await using pair = await startPair(create, application);
    const sent = randomBytes(24 * 1024 * 1024);
    const socket = await dial(pair.port);
    const received = readAll(socket);
    for (let at = 0; at < sent.length; ) {
      const size = 1 + Math.floor(Math.random() * 200_000);
      if (!socket.write(sent.subarray(at, at + size))) await once(socket, 'drain');
      at += size;
    }
    socket.end();
    t.is(digest(await received), digest(sent));
    const outcome = await soleOutcome(pair.client);
    t.is(outcome.bytesReceived, sent.length);
    t.is(outcome.bytesSent, sent.length);
    t.is(outcome.flag, '-');
    t.is(outcome.error, undefined);
  });

  test('a server that speaks first is heard', async (t) => {
    await using application = await startApplication((socket) => socket.end('220 ready'));
    await using pair = await startPair(create, application);
    const socket = await dial(pair.port);
    t.is(String(await readAll(socket)), '220 ready');
    socket.end();
  });

  test('a client that has finished sending still receives', async (t) => {
    await using application = await startApplication((socket) => {
      void readAll(socket).then((all) => socket.end(`got ${all.length}`));
    });
    await using pair = await startPair(create, application);
    const socket = await dial(pair.port);
    socket.end('question');
    t.is(String(await readAll(socket)), 'got 8');
  });

  test('a server that has finished sending still receives', async (t) => {
    let heard: Promise<Buffer> | undefined;
    await using application = await startApplication((socket) => {
      heard = readAll(socket);
      socket.end('answer first');
    });
    await using pair = await startPair(create, application);
    const socket = await dial(pair.port);
    t.is(String(await readAll(socket)), 'answer first');
    socket.end('then the question');
    await eventually(() => heard !== undefined);
    t.is(String(await heard), 'then the question');
  });

  test('a reset by the client is a reset at the server', async (t) => {
    let ending: Promise<string> | undefined;
    await using application = await startApplication((socket) => {
      ending = howItEnds(socket);
    });
    await using pair = await startPair(create, application);
    const socket = await dial(pair.port);
    socket.write('x');
    await eventually(() => ending !== undefined, 'the server to be called');
    socket.resetAndDestroy();
    t.is(await ending, 'ECONNRESET');
  });

  test('a reset by the server is a reset at the client', async (t) => {
    await using application = await startApplication((socket) => {
      socket.once('data', () => socket.resetAndDestroy());
    });
    await using pair = await startPair(create, application);
    const socket = await dial(pair.port);
    socket.write('x');
    t.is(await howItEnds(socket), 'ECONNRESET');
  });

  test('a reader that does not read stops the writer, and nobody else', async (t) => {
    let writtenBySlowApplication = 0;
    await using application = await startApplication((socket) => {
      socket.once('data', (first) => {
        if (String(first) === 'fast') {
          socket.end('fast');
          return;
        }
        const push = () => {
          while (!socket.destroyed && socket.write(Buffer.alloc(65_536))) writtenBySlowApplication += 65_536;
          socket.once('drain', push);
        };
        push();
      });
    });
    await using pair = await startPair(create, application);
    const slow: Socket[] = [];
    for (let i = 0; i < 6; i++) {
      const socket = await dial(pair.port);
      socket.pause();
      socket.write('slow');
      slow.push(socket);
    }
    // the writers have come to rest when nothing more is taken from them
    let before = -1;
    await eventually(async () => {
      const at = writtenBySlowApplication;
      const rested = at === before && at > 0;
      before = at;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return rested;
    }, 'the slow connections to come to rest');
    const fast = await dial(pair.port);
    fast.write('fast');
    t.is(String(await readAll(fast)), 'fast');
    const { bufferedBytes } = pair.server.engine.stats();
    t.true(bufferedBytes < 6 * 8 * 1024 * 1024, `${bufferedBytes} bytes wait in the engine`);
    for (const socket of slow) socket.resetAndDestroy();
  });

  test('bytes thrown away when a stream closes do not stall the session', async (t) => {
    await using application = await startApplication((socket) => {
      socket.once('data', (first) => {
        if (String(first) === 'ping') socket.end('pong');
        else socket.resetAndDestroy();
      });
    });
    await using pair = await startPair(create, application);
    for (let i = 0; i < 40; i++) {
      const socket = await dial(pair.port);
      socket.write(Buffer.alloc(1024 * 1024));
      await new Promise((resolve) => socket.once('close', resolve));
    }
    const socket = await dial(pair.port);
    socket.write('ping');
    t.is(String(await readAll(socket)), 'pong');
  });

  test('1,000 connections at once share few sessions', async (t) => {
    await using application = await startApplication(echo);
    await using pair = await startPair(create, application);
    const sockets = await Promise.all(Array.from({ length: 1_000 }, () => dial(pair.port)));
    for (const [i, socket] of sockets.entries()) socket.write(`number ${i}`);
    const answers = await Promise.all(
      sockets.map(async (socket) => {
        const [first] = (await once(socket, 'data')) as [Buffer];
        return String(first);
      }),
    );
    t.deepEqual(
      answers,
      sockets.map((_, i) => `number ${i}`),
    );
    t.true(pair.client.engine.stats().sessions <= 12, `${pair.client.engine.stats().sessions} sessions`);
    for (const socket of sockets) socket.end();
    await eventually(() => pair.client.outcomes.size === 1_000 && pair.server.outcomes.size === 1_000, 'all to end');
  });

  test(`${SHORT_CONNECTIONS} short connections lose no session`, async (t) => {
    t.timeout(300_000);
    await using application = await startApplication((socket) => {
      socket.once('data', () => socket.end('ok'));
    });
    await using pair = await startPair(create, application);
    const peers = new Set<number>();
    let failed = 0;
    let left = SHORT_CONNECTIONS;
    const worker = async () => {
      while (left > 0) {
        left -= 1;
        const socket = await dial(pair.port);
        socket.write('x');
        const answer = await readAll(socket).catch(() => Buffer.alloc(0));
        if (String(answer) !== 'ok') failed += 1;
        if (left % 2 === 0) socket.end();
        else socket.resetAndDestroy();
      }
    };
    await Promise.all(Array.from({ length: 16 }, worker));
    for (const { source } of pair.server.streams) peers.add(source.port);
    t.is(failed, 0);
    t.is(peers.size, 1, 'one session carried them all');
  });

  test('a refused outbound connection is closed and told once', async (t) => {
    await using rig = await startRig(create, { outbound: () => ({ action: 'refuse', reason: 'no', status: 503 }) });
    const listener = await rig.listen('outbound');
    const ending = await howItEnds(await dial(listener.port));
    t.not(ending, 'data');
    t.is((await soleOutcome(rig)).error, 'no');
    t.deepEqual(rig.opened, []);
  });

  test('passthrough connections are joined without a tunnel', async (t) => {
    await using application = await startApplication(echo);
    await using rig = await startRig(create, { outbound: () => forwardTo(application.port) });
    const listener = await rig.listen('outbound');
    const socket = await dial(listener.port);
    socket.end('plain');
    t.is(String(await readAll(socket)), 'plain');
    t.is((await soleOutcome(rig)).bytesReceived, 5);
  });

  test('an inbound plaintext connection is decided upon by its original destination', async (t) => {
    await using application = await startApplication(echo);
    const seen: number[] = [];
    await using rig = await startRig(create, {
      inboundPlain: ({ originalDestination }) => {
        seen.push(originalDestination.port);
        return forwardTo(application.port);
      },
    });
    const listener = await rig.listen('inbound-plaintext');
    const socket = await dial(listener.port);
    socket.end('in');
    t.is(String(await readAll(socket)), 'in');
    t.deepEqual(seen, [listener.port]);
  });

  test('a preamble goes before the bytes and is not counted', async (t) => {
    await using application = await startApplication(echo);
    await using pair = await startPair(create, application, {
      inboundHbone: () => ({ ...forwardTo(application.port), preamble: Buffer.from('PROXY ') }),
    });
    const socket = await dial(pair.port);
    socket.end('data');
    t.is(String(await readAll(socket)), 'PROXY data');
    t.is((await soleOutcome(pair.server)).bytesReceived, 4);
  });

  test('an application that refuses is answered with 503 and flag CONNECT', async (t) => {
    const application = await startApplication(echo);
    await application[Symbol.asyncDispose]();
    await using pair = await startPair(create, application);
    await howItEnds(await dial(pair.port));
    const outcome = await soleOutcome(pair.client);
    t.is(outcome.error, 'http status: 503 Service Unavailable');
    t.is(outcome.flag, 'CONNECT');
    const inbound = await soleOutcome(pair.server);
    t.is(inbound.flag, 'CONNECT');
    t.regex(inbound.error ?? '', /Connection refused \(os error 111\)/);
  });

  const refusals: readonly [number, string][] = [
    [400, 'ip mismatch'],
    [401, 'connection closed due to policy rejection'],
    [503, 'no service'],
  ];
  for (const [status, reason] of refusals) {
    test(`a CONNECT refused with ${status} ends the stream without a body`, async (t) => {
      let decision: InboundDecision = { action: 'refuse', reason, status };
      await using application = await startApplication(echo);
      await using rig = await startRig(create, { inboundHbone: () => decision });
      const listener = await rig.listen('inbound-hbone');
      const credentials = await selfIssuing(rig.authority).fetch(CLIENT, NEVER);
      const session = await openRawSession(listener.port, credentials);
      const refused = await request(session, '10.0.0.1:80', { forwarded: 'for="1.2.3.4:5"' });
      t.is(refused.status, status);
      t.is((await readAll(refused.stream)).length, 0);
      t.is(application.sockets.length, 0, 'the application was not called');
      decision = { ...forwardTo(application.port), responseHeaders: { baggage: 'service.name=s' } };
      const accepted = await request(session, '10.0.0.1:80');
      t.is(accepted.status, 200);
      t.is(accepted.headers.baggage, 'service.name=s');
      accepted.stream.end('x');
      t.is(String(await readAll(accepted.stream)), 'x');
      t.deepEqual(rig.streams[0]?.headers, { forwarded: ['for="1.2.3.4:5"'] });
      t.deepEqual(rig.streams[0]?.peerIdentity, CLIENT);
      session.destroy();
    });
  }

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

  const resets: readonly [string, number, string][] = [
    ['CANCEL', constants.NGHTTP2_CANCEL, 'ECONNRESET'],
    ['INTERNAL_ERROR', constants.NGHTTP2_INTERNAL_ERROR, 'ECONNRESET'],
  ];
  for (const [name, code, ending] of resets) {
    test(`RST_STREAM ${name} from the peer resets the application`, async (t) => {
      const authority = await newAuthority();
      const open: ServerHttp2Stream[] = [];
      await using peer = await startRawServer(await selfIssuing(authority).fetch(SERVER, NEVER), (stream) => {
        stream.respond({ ':status': 200 });
        stream.write('x');
        open.push(stream);
      });
      await using client = await startRig(create, { outbound: () => tunnelTo(peer.port) }, { authority });
      const socket = await dial((await client.listen('outbound')).port);
      await once(socket, 'data');
      open[0]?.close(code);
      t.is(await howItEnds(socket), ending);
    });
  }

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

  test('a cut ends both sides now, with the flag and error it was given', async (t) => {
    await using application = await startApplication(echo);
    await using pair = await startPair(create, application);
    const socket = await dial(pair.port);
    socket.write('x');
    await once(socket, 'data');
    const ending = howItEnds(socket);
    pair.server.engine.cut(pair.server.streams[0]!.id, 'DENY', 'connection closed due to policy change'); // one stream was seen
    t.is(await ending, 'ECONNRESET');
    const outcome = await soleOutcome(pair.server);
    t.is(outcome.flag, 'DENY');
    t.is(outcome.error, 'connection closed due to policy change');
    t.is(outcome.bytesReceived, 1);
  });

  test('drain refuses new connections, lets open ones end, and cuts at the deadline', async (t) => {
    await using application = await startApplication(echo);
    await using pair = await startPair(create, application);
    const [ends, stays] = [await dial(pair.port), await dial(pair.port)];
    for (const socket of [ends, stays]) {
      socket.write('x');
      await once(socket, 'data');
    }
    const drained = pair.client.engine.drain('pod', 1_500);
    await eventually(
      () =>
        dial(pair.port).then(
          (socket) => {
            socket.destroy();
            return false;
          },
          () => true,
        ),
      'the listener to be closed',
    );
    ends.end('last words');
    t.is(String(await readAll(ends)), 'last words');
    t.is(await howItEnds(stays), 'ECONNRESET');
    await drained;
    const errors = [...pair.client.outcomes.values()].map(({ error }) => error);
    t.deepEqual(errors.sort(), ['connection closed due to connection drain', undefined]);
    t.is(pair.client.engine.stats().connections, 0);
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

  test('progress is reported while a connection is open', async (t) => {
    await using application = await startApplication(echo);
    await using pair = await startPair(create, application);
    const socket = await dial(pair.port);
    socket.write('12345');
    await eventually(() => pair.client.progressed.sent === 5 && pair.client.progressed.received === 5, 'progress');
    t.is(pair.client.outcomes.size, 0);
    socket.destroy();
  });

  test('unusual requests of a verified peer do no harm', async (t) => {
    await using application = await startApplication(echo);
    await using rig = await startRig(create, {
      inboundHbone: ({ method, authority }) =>
        method === 'CONNECT' && authority !== ''
          ? forwardTo(application.port)
          : { action: 'refuse', reason: 'bad', status: 400 },
    });
    const listener = await rig.listen('inbound-hbone');
    const credentials = await selfIssuing(rig.authority).fetch(CLIENT, NEVER);
    const session = await openRawSession(listener.port, credentials);
    const get = session.request({ ':method': 'GET', ':path': '/', ':scheme': 'https', ':authority': 'x' });
    get.on('error', () => {});
    const [headers] = (await once(get, 'response')) as [Record<string, unknown>];
    t.is(headers[':status'], 400);
    const huge = session.request(
      { ':method': 'CONNECT', ':authority': '10.0.0.1:80', 'x-huge': 'h'.repeat(80_000) },
      { endStream: false },
    );
    huge.on('error', () => {});
    await new Promise((resolve) => huge.once('close', resolve));
    const after = await openRawSession(listener.port, credentials);
    const answer = await request(after, '10.0.0.1:80');
    t.is(answer.status, 200);
    session.destroy();
    after.destroy();
  });
}

import { once } from 'node:events';
import anyTest, { type TestFn } from 'ava';
import type { InboundDecision } from '../../src/engine/index.ts';
import { selfIssuing } from '../../src/pki/index.ts';
import { forwardTo, NEVER, soleOutcome, startPair } from './pair.ts';
import { dial, echo, howItEnds, openRawSession, readAll, request, startApplication } from './peers.ts';
import { CLIENT, type EngineFactory, startRig } from './rig.ts';

/** One after the other: a case must not wait for what another one loads this process with. */
const test = (anyTest as TestFn).serial;

export function registerDecisionCases(create: EngineFactory): void {
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

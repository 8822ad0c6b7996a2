/**
 * Answers that may be given again: whether an engine makes use of them is its own affair, what comes of the connections
 * is not. Registered by `registerEngineSuite`.
 */
import anyTest, { type TestFn } from 'ava';
import { type ForwardHbone, type ForwardPlain, PER_CONNECTION } from '../../src/engine/index.ts';
import { eventually } from '../support/eventually.ts';
import { forwardTo, startPair, tunnelTo } from './pair.ts';
import { dial, howItEnds, readAll, startApplication } from './peers.ts';
import { type EngineFactory, newAuthority, startRig } from './rig.ts';

/** One after the other: a case must not wait for what another one loads this process with. */
const test = (anyTest as TestFn).serial;

const always = (decision: ForwardPlain | ForwardHbone, token: unknown = undefined) => ({
  candidates: [{ weight: 1, decision, token }],
});

/** Answers whoever connects with its name. */
const named = (name: string) => startApplication((socket) => socket.resume().end(name));

async function ask(port: number): Promise<string> {
  const socket = await dial(port);
  const heard = String(await readAll(socket));
  socket.end();
  return heard;
}

export function registerReuseCases(create: EngineFactory): void {
  test('each connection is asked about, or told as having taken the answer that was offered', async (t) => {
    await using application = await named('a');
    const asked = new Set<number>();
    const took = new Set<number>();
    await using rig = await startRig(create, {
      outbound: ({ id }) => {
        asked.add(id);
        return forwardTo(application.port);
      },
      reusable: () => always(forwardTo(application.port), 'token'),
      reused: ({ id, source }, token) => {
        t.is(token, 'token');
        t.true(source.port > 0);
        took.add(id);
        return undefined;
      },
    });
    const listener = await rig.listen('outbound');
    for (let i = 0; i < 20; i++) t.is(await ask(listener.port), 'a');
    await eventually(() => rig.outcomes.size === 20, 'all to end');
    t.is(asked.size + took.size, 20);
    t.true(asked.size > 0);
    t.deepEqual([...rig.opened].sort(), [...asked, ...took].sort());
    t.deepEqual([...rig.outcomes.keys()].sort(), [...asked, ...took].sort());
  });

  test('what was forgotten is not given again', async (t) => {
    await using before = await named('before');
    await using after = await named('after');
    let now = before.port;
    await using rig = await startRig(create, {
      outbound: () => forwardTo(now),
      reusable: () => always(forwardTo(now)),
    });
    const listener = await rig.listen('outbound');
    for (let i = 0; i < 5; i++) t.is(await ask(listener.port), 'before');
    now = after.port;
    rig.engine.forgetDecisions();
    for (let i = 0; i < 5; i++) t.is(await ask(listener.port), 'after');
  });

  test('control: an answer that is not forgotten may go on being given', async (t) => {
    await using application = await named('a');
    let refusing = false;
    await using rig = await startRig(create, {
      outbound: () => (refusing ? { action: 'refuse', reason: 'no', status: 503 } : forwardTo(application.port)),
      reusable: () => always(forwardTo(application.port)),
    });
    const listener = await rig.listen('outbound');
    t.is(await ask(listener.port), 'a');
    refusing = true;
    const second = await ask(listener.port).catch(() => '');
    rig.engine.forgetDecisions();
    t.is(await ask(listener.port).catch(() => ''), '');
    t.true(second === 'a' || second === '');
  });

  test('endpoints are drawn by weight for each connection', async (t) => {
    await using often = await named('often');
    await using seldom = await named('seldom');
    let toggle = 0;
    const draw = () => forwardTo(toggle++ % 4 === 0 ? seldom.port : often.port);
    await using rig = await startRig(create, {
      outbound: draw,
      reusable: () => ({
        candidates: [
          { weight: 0.75, decision: forwardTo(often.port), token: undefined },
          { weight: 0.25, decision: forwardTo(seldom.port), token: undefined },
        ],
      }),
    });
    const listener = await rig.listen('outbound');
    let seldomHits = 0;
    for (let i = 0; i < 200; i++) {
      if ((await ask(listener.port)) === 'seldom') seldomHits += 1;
    }
    // 50 expected; 1 run in a million is outside of 20 to 85
    t.true(seldomHits > 20 && seldomHits < 85, `${seldomHits} of 200`);
  });

  test('a connection that is forbidden by now is cut with DENY', async (t) => {
    await using application = await startApplication(() => {});
    let forbidden = false;
    await using pair = await startPair(create, application, {
      inboundHbone: () => (forbidden ? { action: 'refuse', reason: 'no', status: 401 } : forwardTo(application.port)),
      reusable: () => always(forwardTo(application.port)),
      reused: () => (forbidden ? 'forbidden by now' : undefined),
    });
    const open = await dial(pair.port);
    await eventually(() => application.sockets.length === 1, 'the application to be called');
    forbidden = true;
    await howItEnds(await dial(pair.port));
    await eventually(
      () => pair.server.outcomes.size + pair.client.outcomes.size >= 2,
      'the forbidden connection to end on both sides',
    );
    const [outcome] = pair.server.outcomes.values();
    t.true(outcome?.flag === 'DENY' || outcome?.error === 'no', outcome?.error);
    open.destroy();
  });

  test('what differs from connection to connection is put into the headers', async (t) => {
    await using application = await named('a');
    const authority = await newAuthority();
    await using server = await startRig(
      create,
      { inboundHbone: () => forwardTo(application.port), reusable: () => always(forwardTo(application.port)) },
      { authority },
    );
    const inbound = await server.listen('inbound-hbone');
    const tunnel = tunnelTo(inbound.port);
    const { source, traceId, spanId } = PER_CONNECTION;
    const headers = { forwarded: `for="${source}"`, traceparent: `00-${traceId}-${spanId}-00` };
    const template: ForwardHbone = { ...tunnel, connect: { ...tunnel.connect, headers } };
    const sources: string[] = [];
    const heard: (string | undefined)[] = [];
    await using client = await startRig(
      create,
      {
        outbound: () => ({ ...tunnel, connect: { ...tunnel.connect, headers: {} } }),
        reusable: () => always(template),
        reused: (connection) => {
          sources.push(`for="127.0.0.1:${connection.source.port}"`);
          return undefined;
        },
      },
      { authority },
    );
    const listener = await client.listen('outbound');
    for (let i = 0; i < 4; i++) await ask(listener.port);
    for (const { headers: sent } of server.streams) {
      if (!sent.forwarded) continue;
      heard.push(sent.forwarded[0]);
      t.regex(sent.traceparent?.[0] ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    }
    await eventually(() => client.outcomes.size === 4, 'all to end');
    t.true(heard.every((line) => sources.includes(line ?? '')));
  });
}

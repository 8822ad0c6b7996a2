import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { constants, type ServerHttp2Stream } from 'node:http2';
import anyTest, { type TestFn } from 'ava';
import { selfIssuing } from '../../src/pki/index.ts';
import { eventually } from '../support/eventually.ts';
import { NEVER, soleOutcome, startPair, tunnelTo } from './pair.ts';
import { dial, echo, howItEnds, readAll, resetStream, startApplication, startRawServer } from './peers.ts';
import { type EngineFactory, newAuthority, SERVER, startRig } from './rig.ts';

/** One after the other: a case must not wait for what another one loads this process with. */
const test = (anyTest as TestFn).serial;

export function registerEndingCases(create: EngineFactory): void {
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
      if (open[0]) resetStream(open[0], code);
      t.is(await howItEnds(socket), ending);
    });
  }

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

  test('however connections end, no descriptor stays open', async (t) => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const settled = async () => {
      await using application = await startApplication((socket) => {
        socket.once('data', (first) => {
          if (String(first) === 'reset me') socket.resetAndDestroy();
          else socket.end(first);
        });
      });
      await using pair = await startPair(create, application);
      for (let i = 0; i < 60; i++) {
        const socket = await dial(pair.port);
        socket.write(i % 3 === 0 ? 'reset me' : 'answer me');
        if (i % 3 === 1) await readAll(socket);
        if (i % 3 === 2) socket.resetAndDestroy();
        else socket.destroy();
      }
    };
    await settled(); // what is loaded and kept once
    const before = descriptors();
    await settled();
    await eventually(() => descriptors() <= before, 'the descriptors to be closed');
    t.pass();
  });
}

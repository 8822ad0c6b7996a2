/** Bytes: exact, under pressure, bounded, and many connections at once. Registered by `registerEngineSuite`. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import anyTest, { type TestFn } from 'ava';
import { eventually } from '../support/eventually.ts';
import { digest, forwardTo, soleOutcome, startPair, tunnelTo } from './pair.ts';
import { dial, echo, readAll, startApplication } from './peers.ts';
import { type EngineFactory, newAuthority, startRig } from './rig.ts';

/** One after the other: a case must not wait for what another one loads this process with. */
const test = (anyTest as TestFn).serial;
/** Short connections through one pair; more in a soak. */
const SHORT_CONNECTIONS = Number(process.env.CULVERT_SHORT_CONNECTIONS ?? 5_000);

export function registerByteCases(create: EngineFactory): void {
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

  test('progress is reported while a connection is open', async (t) => {
    await using application = await startApplication(echo);
    await using pair = await startPair(create, application);
    const socket = await dial(pair.port);
    socket.write('12345');
    await eventually(() => pair.client.progressed.sent === 5 && pair.client.progressed.received === 5, 'progress');
    t.is(pair.client.outcomes.size, 0);
    socket.destroy();
  });

  for (const tunnelled of [true, false]) {
    const title = tunnelled ? 'on the way a secret is not seen' : 'control: without the tunnel a secret is seen';
    test(title, async (t) => {
      const seen: Buffer[] = [];
      let next = 0;
      await using relay = await startApplication((socket) => {
        const onward = connect({ port: next, host: '127.0.0.1', allowHalfOpen: true });
        onward.on('error', () => socket.destroy());
        socket.once('close', () => onward.destroy());
        for (const side of [socket, onward]) side.on('data', (chunk: Buffer) => seen.push(chunk));
        socket.pipe(onward).pipe(socket);
      });
      await using application = await startApplication(echo);
      const authority = await newAuthority();
      await using server = await startRig(create, { inboundHbone: () => forwardTo(application.port) }, { authority });
      const inbound = await server.listen('inbound-hbone');
      next = tunnelled ? inbound.port : application.port;
      await using client = await startRig(
        create,
        { outbound: () => (tunnelled ? tunnelTo(relay.port) : forwardTo(relay.port)) },
        { authority },
      );
      const socket = await dial((await client.listen('outbound')).port);
      socket.end('a secret of the application');
      t.is(String(await readAll(socket)), 'a secret of the application');
      t.is(Buffer.concat(seen).includes('a secret'), !tunnelled);
      t.true(seen.length > 0);
    });
  }
}

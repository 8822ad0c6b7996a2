import { EventEmitter } from 'node:events';
import type { ClientHttp2Session } from 'node:http2';
import test from 'ava';
import { SessionPool } from './session-pool.ts';

/** What the pool sees of a session. */
class FakeSession extends EventEmitter {
  closed = false;
  destroyed = false;
  remoteSettings: { maxConcurrentStreams: number };

  constructor(peerLimit = 1_000) {
    super();
    this.remoteSettings = { maxConcurrentStreams: peerLimit };
  }

  close(): void {
    this.closed = true;
    this.emit('close');
  }

  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

const asSession = (fake: FakeSession) => fake as unknown as ClientHttp2Session; // the pool uses no more than the fake has

function dialer(peerLimit?: number) {
  const made: FakeSession[] = [];
  return {
    made,
    dial: async () => {
      await null;
      const fake = new FakeSession(peerLimit);
      made.push(fake);
      return asSession(fake);
    },
  };
}

const newPool = (maxStreamsPerSession = 100) => new SessionPool({ maxStreamsPerSession, idleTimeoutMs: 300_000 });

test('concurrent first leases of a key share one dial and one session', async (t) => {
  const pool = newPool();
  const { dial, made } = dialer();
  const leases = await Promise.all(Array.from({ length: 100 }, () => pool.lease('a', dial)));
  t.is(made.length, 1);
  t.is(new Set(leases.map(({ session }) => session)).size, 1);
});

test('different keys have different sessions', async (t) => {
  const pool = newPool();
  const { dial, made } = dialer();
  await Promise.all([pool.lease('a', dial), pool.lease('b', dial)]);
  t.is(made.length, 2);
  t.is(pool.size, 2);
});

const limits = test.macro(async (t, own: number, peers: number, leases: number, sessions: number) => {
  const pool = newPool(own);
  const { dial, made } = dialer(peers);
  for (let i = 0; i < leases; i++) await pool.lease('a', dial);
  t.is(made.length, sessions);
});
test('the own limit holds', limits, 2, 1_000, 4, 2);
test('the limit of the peer holds when it is lower', limits, 100, 3, 7, 3);
test('a limit of one gives every stream its own session', limits, 1, 1_000, 5, 5);
test('300 leases with a limit of 100 take three sessions', limits, 100, 1_000, 300, 3);

test('a place that was given back is used again, and only once', async (t) => {
  const pool = newPool(1);
  const { dial, made } = dialer();
  const first = await pool.lease('a', dial);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  const second = await pool.lease('a', dial);
  t.true(second.reused);
  t.is(made.length, 1);
  await pool.lease('a', dial);
  t.is(made.length, 2);
});

test('after GOAWAY a session is not handed out, its streams go on, and it closes with the last', async (t) => {
  const pool = newPool();
  const { dial, made } = dialer();
  const lease = await pool.lease('a', dial);
  made[0]?.emit('goaway');
  const next = await pool.lease('a', dial);
  t.not(next.session, lease.session);
  t.false(made[0]?.closed);
  lease[Symbol.dispose]();
  t.true(made[0]?.closed);
  t.is(pool.size, 1);
});

test('a session that closed is forgotten', async (t) => {
  const pool = newPool();
  const { dial, made } = dialer();
  await pool.lease('a', dial);
  made[0]?.destroy();
  t.is(pool.size, 0);
  await pool.lease('a', dial);
  t.is(made.length, 2);
});

test('a dial that fails is told to all who wait and tried anew by the next', async (t) => {
  const pool = newPool();
  const { dial } = dialer();
  let dials = 0;
  const fail = async () => {
    dials += 1;
    await null;
    throw new Error('no route');
  };
  const waiting = await Promise.allSettled([pool.lease('a', fail), pool.lease('a', fail)]);
  t.deepEqual(
    waiting.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  t.is(dials, 1);
  await t.notThrowsAsync(pool.lease('a', dial));
});

test('drain closes what is idle, lets what is busy end, and opens nothing', async (t) => {
  const pool = newPool();
  const { dial, made } = dialer();
  const busy = await pool.lease('busy', dial);
  (await pool.lease('idle', dial))[Symbol.dispose]();
  pool.drain();
  t.deepEqual(
    made.map(({ closed }) => closed),
    [false, true],
  );
  await t.throwsAsync(pool.lease('busy', dial), { code: 'ERR_POOL_DRAINING' });
  busy[Symbol.dispose]();
  t.true(made[0]?.closed);
});

test('a session that was dialled while the pool drained is not left behind', async (t) => {
  const pool = newPool();
  const { dial, made } = dialer();
  const waiting = pool.lease('a', dial);
  pool.drain();
  await t.throwsAsync(waiting, { code: 'ERR_POOL_DRAINING' });
  t.true(made[0]?.destroyed);
  t.is(pool.size, 0);
});

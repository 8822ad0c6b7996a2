import test from 'ava';
import { ManualClock, settled } from '../../../test/support/manual-clock.ts';
import { silentLogger } from '../../core/logger.ts';
import { backoffMs, type Work, WorkQueue } from './work-queue.ts';

function queue(work: Work, workers = 2) {
  const clock = new ManualClock();
  return { clock, queue: new WorkQueue({ clock, log: silentLogger, workers }, work) };
}

/** Work that waits to be let go. */
function gate() {
  const started: string[] = [];
  const waiting: (() => void)[] = [];
  const work = (name: string): Promise<undefined> => {
    started.push(name);
    return new Promise((resolve) => waiting.push(() => resolve(undefined)));
  };
  return { started, work, next: () => waiting.shift()?.() };
}

test('the wait after failures doubles from 5 ms to 5 s', (t) => {
  t.deepEqual([1, 2, 3, 10, 11, 12, 1_000].map(backoffMs), [5, 10, 20, 2_560, 5_000, 5_000, 5_000]);
});

test('a name waits once, and is worked on again when it changed meanwhile', async (t) => {
  const { started, work, next } = gate();
  const { queue: names } = queue(work);
  for (const name of ['a', 'b', 'a', 'a']) names.add(name);
  t.deepEqual(started, ['a', 'b']);
  next();
  await settled();
  t.deepEqual(started, ['a', 'b', 'a']);
  next();
  next();
  await settled();
  t.is(names.size, 0);
});

test('no more than so many at a time', async (t) => {
  const { started, work, next } = gate();
  const { queue: names } = queue(work);
  for (const name of ['a', 'b', 'c']) names.add(name);
  t.deepEqual(started, ['a', 'b']);
  next();
  await settled();
  t.deepEqual(started, ['a', 'b', 'c']);
});

test('a failure comes again later each time, success resets it', async (t) => {
  const ran: number[] = [];
  let fails = 3;
  const { clock, queue: names } = queue(async () => {
    ran.push(clock.nowMs());
    if (fails-- > 0) throw new Error('no');
    return undefined;
  });
  const start = clock.nowMs();
  names.add('a');
  await settled();
  for (const ms of [5, 10, 20]) await clock.advance(ms);
  t.deepEqual(
    ran.map((at) => at - start),
    [0, 5, 15, 35],
  );
  t.is(names.size, 0);
  fails = 1;
  names.add('a');
  await settled();
  await clock.advance(5);
  t.is(ran.length, 6);
});

test('a name may ask to come again, and comes earlier when something changed', async (t) => {
  let runs = 0;
  const { clock, queue: names } = queue(async () => (++runs === 1 ? 2_000 : undefined));
  names.add('a');
  await settled();
  await clock.advance(1_999);
  t.is(runs, 1);
  names.add('a');
  await settled();
  t.is(runs, 2);
  await clock.advance(10_000);
  t.is(runs, 2);
});

test('retries of a broken node are held to ten a second after a burst', async (t) => {
  let runs = 0;
  const { clock, queue: names } = queue(async () => {
    runs++;
    throw new Error('no');
  }, 1_000);
  for (let name = 0; name < 300; name++) names.add(`pod-${name}`);
  await settled();
  t.is(runs, 300);
  await clock.advance(5);
  t.true(runs <= 300 + 101, `${runs}`);
});

test('an action of another kind excludes the work on its name', async (t) => {
  const { started, work } = gate();
  const { queue: names } = queue(work);
  const done = Promise.withResolvers<void>();
  const action = names.exclusively('a', () => done.promise);
  names.add('a');
  names.add('b');
  await settled();
  t.deepEqual(started, ['b']);
  done.resolve();
  await action;
  await settled();
  t.deepEqual(started, ['b', 'a']);
});

test('two actions on one name come one after the other', async (t) => {
  const { queue: names } = queue(async () => undefined);
  const order: string[] = [];
  const step = (name: string) => async () => {
    order.push(`${name} begins`);
    await settled();
    order.push(`${name} ends`);
  };
  await Promise.all([1, 2, 3].map((n) => names.exclusively('a', step(String(n)))));
  t.deepEqual(order, ['1 begins', '1 ends', '2 begins', '2 ends', '3 begins', '3 ends']);
});

test('after dispose nothing begins', async (t) => {
  let runs = 0;
  const { clock, queue: names } = queue(async () => {
    runs++;
    return 10;
  });
  names.add('a');
  await settled();
  await names[Symbol.asyncDispose]();
  names.add('b');
  await clock.advance(100);
  t.is(runs, 1);
  t.is(clock.sleepers, 0);
});

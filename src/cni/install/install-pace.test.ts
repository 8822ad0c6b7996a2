import test from 'ava';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { InstallPace } from './install-pace.ts';

test('one pass in five seconds never waits', async (t) => {
  const clock = new ManualClock();
  const pace = new InstallPace(clock);
  for (let pass = 0; pass < 20; pass++) {
    t.deepEqual(pace.next(), { waitMs: 0, isContended: false });
    await clock.advance(5_000);
  }
});

test('faster ones wait up to a second, and the sixth in a row tells', async (t) => {
  const clock = new ManualClock();
  const pace = new InstallPace(clock);
  const passes = [];
  for (let pass = 0; pass < 7; pass++) {
    const next = pace.next();
    passes.push(next.isContended);
    t.is(next.waitMs, pass === 0 ? 0 : 1_000);
    await clock.advance(next.waitMs);
  }
  t.deepEqual(passes, [false, false, false, false, false, false, true]);
});

test('the wait is no longer than what is left', async (t) => {
  const clock = new ManualClock();
  const pace = new InstallPace(clock);
  pace.next();
  await clock.advance(4_700);
  t.is(pace.next().waitMs, 300);
});

import test from 'ava';
import fc from 'fast-check';
import { FIRST_STATE, nextStep, type WatchInput, type WatchState } from './watch-state.ts';

const page = (resourceVersion: string, continueToken?: string): WatchInput => ({
  kind: 'page',
  resourceVersion,
  continueToken,
});
const progress = (resourceVersion: string): WatchInput => ({ kind: 'progress', resourceVersion });

/** The state after some inputs, for a kind with two versions. */
function after(...inputs: readonly WatchInput[]): WatchState {
  return inputs.reduce((state, input) => nextStep(state, input, 2).state, FIRST_STATE);
}

test('pages follow each other; only the last one publishes and starts the watch', (t) => {
  const first = nextStep(FIRST_STATE, page('5', 'more'), 1);
  t.deepEqual(
    [first.pages, first.wait, first.state.request],
    ['keep', 'none', { kind: 'list', continueToken: 'more' }],
  );
  const last = nextStep(first.state, page('5'), 1);
  t.deepEqual(
    [last.pages, last.wait, last.state.request],
    ['publish', 'none', { kind: 'watch', resourceVersion: '5' }],
  );
});

test('a watch that breaks goes on from the newest version it saw', (t) => {
  const state = after(page('5'), progress('9'), { kind: 'ended', lastedMs: 60_000 });
  t.deepEqual(state.request, { kind: 'watch', resourceVersion: '9' });
  t.is(state.failures, 1);
});

test('watches that end at once wait longer each time; a long one starts over', (t) => {
  const short = { kind: 'ended', lastedMs: 10 } as const;
  t.is(after(page('5'), short, progress('6'), short, short).failures, 3);
  t.is(after(page('5'), short, short, { kind: 'ended', lastedMs: 5_000 }).failures, 1);
});

test('a version that the server forgot is listed anew, after a wait, and drops half a listing', (t) => {
  for (const before of [after(page('5')), after(page('5', 'more'))]) {
    const { state, wait, pages } = nextStep(before, { kind: 'gone' }, 2);
    t.deepEqual([state.request, wait, pages], [FIRST_STATE.request, 'back-off', 'drop']);
  }
});

test('a kind is absent when no version of it is there; then it is empty, and looked for slowly from the first', (t) => {
  const second = nextStep(FIRST_STATE, { kind: 'absent' }, 2);
  t.deepEqual([second.state.version, second.wait, second.pages], [1, 'none', 'drop']);
  const none = nextStep(second.state, { kind: 'absent' }, 2);
  t.deepEqual([none.state, none.wait, none.pages], [FIRST_STATE, 'absent', 'publish']);
});

test('a failed request is made again as it was', (t) => {
  const before = after(page('5', 'more'));
  const { state, wait, pages } = nextStep(before, { kind: 'failed' }, 2);
  t.deepEqual([state, wait, pages], [{ ...before, failures: 1 }, 'back-off', 'keep']);
});

test('whatever happens, nothing but good answers is followed without a wait for long', (t) => {
  const bad = fc.constantFrom<WatchInput>(
    { kind: 'ended', lastedMs: 1 },
    { kind: 'gone' },
    { kind: 'absent' },
    { kind: 'failed' },
  );
  fc.assert(
    fc.property(fc.array(bad, { maxLength: 50 }), (inputs) => {
      let state = FIRST_STATE;
      let hasty = 0;
      for (const input of inputs) {
        const step = nextStep(state, input, 2);
        hasty = step.wait === 'none' ? hasty + 1 : 0;
        t.true(hasty < 2);
        t.true(step.wait !== 'back-off' || step.state.failures >= 1);
        state = step.state;
      }
    }),
  );
});

import test from 'ava';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { MeshError } from '../../core/errors.ts';
import { silentLogger } from '../../core/logger.ts';
import { type DaemonSetAnswer, type Departure, findDeparture } from './departure.ts';

const decides = test.macro(async (t, answers: readonly (DaemonSetAnswer | 'error')[], expected: Departure) => {
  const left = [...answers];
  const clock = new ManualClock();
  const decision = findDeparture({
    ...{ clock, log: silentLogger },
    ask: async () => {
      const answer = left.shift() ?? 'error';
      if (answer === 'error') throw new MeshError('ERR_SYSTEM', 'no answer');
      return answer;
    },
  });
  let isDone = false;
  void decision.then(() => {
    isDone = true;
  });
  for (let turn = 0; turn < 100 && !isDone; turn += 1) {
    await Promise.resolve();
    clock.advance(1_000);
  }
  t.is(await decision, expected);
});

test('a DaemonSet that stays means that another agent follows', decides, ['present'], 'restart');
test('one that is being deleted means removal', decides, ['leaving'], 'removal');
test('one that is gone means removal', decides, ['absent'], 'removal');
test('rights that are gone mean removal: they go with the mesh', decides, ['refused'], 'removal');
test('no answer is asked for again', decides, ['error', 'error', 'absent'], 'removal');
test('control: without any answer capture stays', decides, [], 'restart');

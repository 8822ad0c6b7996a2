/** The soak in short; `npm run soak` is the long form. */
import test from 'ava';
import { grown, soak } from './soak.ts';

const SECONDS = 20;
/** RSS needs minutes to say anything: here only descriptors are judged. */
const descriptorsOnly = (problems: readonly string[]): readonly string[] =>
  problems.filter((problem) => problem.startsWith('descriptors'));

test.serial('under churn no call fails and no descriptor stays', async (t) => {
  t.timeout(150_000);
  const result = await soak({ seconds: SECONDS });
  t.deepEqual(result.failures, []);
  t.deepEqual(descriptorsOnly(grown(result)), []);
  t.log(`${result.calls} calls, RSS ${result.before.rssMb} -> ${result.after.rssMb} MB`);
});

test.serial('control: connections that are kept are seen', async (t) => {
  t.timeout(150_000);
  const result = await soak({ seconds: SECONDS / 2, kept: 10 });
  t.is(descriptorsOnly(grown(result)).length, 1);
});

test('control: memory that grows is seen', (t) => {
  const before = { rssMb: 100, descriptors: 50 };
  t.is(grown({ before, after: { ...before, rssMb: 200 } }).length, 1);
  t.deepEqual(grown({ before, after: before }), []);
});

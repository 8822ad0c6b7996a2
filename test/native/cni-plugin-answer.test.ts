/** The CNI executable never takes for a success what is not the whole of one. */
import test from 'ava';
import fc from 'fast-check';
import { call, config, environment, RunDir } from './cni-call.ts';

const RUNS = 80;
const SUCCESSES = [
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
] as const;

/** How an ADD ends when the agent answers so and hangs up. */
async function add(answer: string) {
  await using dir = new RunDir();
  await dir.raw(answer, 'close');
  return await call(config(dir.path), environment('ADD')); // awaited here: the folder goes with this scope
}

test.serial('control: the whole answers are successes', async (t) => {
  for (const answer of SUCCESSES) t.is((await add(answer)).exit, 0, answer);
});

test.serial('a success that is cut anywhere is a failure', async (t) => {
  const cut = fc
    .constantFrom(...SUCCESSES)
    .chain((text) => fc.nat({ max: text.length - 1 }).map((end) => text.slice(0, end)));
  await fc.assert(
    fc.asyncProperty(cut, async (answer) => {
      const { exit, json } = await add(answer);
      t.is(exit, 1, answer);
      t.is(typeof json.code, 'number');
    }),
    { numRuns: RUNS },
  );
});

test.serial('whatever an agent says without a status of success, the ADD fails with one JSON document', async (t) => {
  const part = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.constantFrom('\r\n', '\r\n\r\n', 'Content-Length: 2', 'Content-Length: 99999999999999999999', ':', '0\r\n\r\n'),
    fc.constantFrom('Transfer-Encoding: chunked', 'ffffffffffffffffff\r\n', '-1\r\n', '\0'),
  );
  const start = fc.constantFrom(
    '',
    'HTTP/1.1 500 X\r\n',
    'HTTP/1.1 2000 X\r\n',
    'HTTP/1.1 201 X\r\n',
    'HTTP/9.9 200\r\n',
  );
  const answer = fc.tuple(start, fc.array(part, { maxLength: 8 })).map(([head, parts]) => head + parts.join(''));
  await fc.assert(
    fc.asyncProperty(answer, async (text) => {
      const { exit, json } = await add(text);
      t.is(exit, 1, JSON.stringify(text));
      t.is(typeof json.code, 'number');
      t.is(typeof json.msg, 'string');
    }),
    { numRuns: RUNS },
  );
});

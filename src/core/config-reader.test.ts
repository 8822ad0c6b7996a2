import test from 'ava';
import { asBoolean, asDurationMs, asPort, asPositiveInt, ConfigReader } from './config-reader.ts';
import { errnoName, MeshError } from './errors.ts';

test('every problem is reported together', (t) => {
  const read = new ConfigReader({ PORT: 'x', EMPTY: '' });
  const config = { port: read.required('PORT', asPort), name: read.required('EMPTY', String) };
  const error = t.throws(() => read.done(config), { instanceOf: MeshError });
  t.is(error.code, 'ERR_CONFIG');
  t.regex(error.message, /PORT=x: expected a port/);
  t.regex(error.message, /EMPTY is not set/);
});

test('a missing or empty optional value takes its default, a wrong one does not', (t) => {
  const read = new ConfigReader({ EMPTY: '', WRONG: '-1' });
  t.is(read.optional('MISSING', asPositiveInt, 7), 7);
  t.is(read.optional('EMPTY', asPositiveInt, 8), 8);
  read.optional('WRONG', asPositiveInt, 9);
  t.throws(() => read.done({}), { message: /WRONG=-1/ });
});

test('variables with a prefix are found by the rest of their names', (t) => {
  const read = new ConfigReader({ XDS_HEADER_a: '1', XDS_HEADER_B: '2', OTHER: '3' });
  t.deepEqual(read.prefixed('XDS_HEADER_'), { a: '1', B: '2' });
});

const durations: [string, number][] = [
  ['5s', 5_000],
  ['250ms', 250],
  ['1h30m', 5_400_000],
  ['1.5s', 1_500],
];
for (const [text, ms] of durations) {
  test(`${text} is ${ms} ms`, (t) => t.is(asDurationMs(text), ms));
}
for (const text of ['', '5', '5x', 's', '-5s']) {
  test(`"${text}" is no duration`, (t) => {
    t.throws(() => asDurationMs(text));
  });
}

test('booleans are read in any case', (t) => {
  t.true(asBoolean('True'));
  t.false(asBoolean('0'));
  t.throws(() => asBoolean('yes'));
});

test('an errno name is told from other codes', (t) => {
  t.is(errnoName(Object.assign(new Error('x'), { code: 'ECONNREFUSED' })), 'ECONNREFUSED');
  t.is(errnoName(Object.assign(new Error('x'), { code: 5 })), undefined);
  t.is(errnoName('x'), undefined);
});

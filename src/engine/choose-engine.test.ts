import test from 'ava';
import { MeshError } from '../core/errors.ts';
import { LogWriter } from '../core/log-writer.ts';
import { chooseEngine, type EngineMakers } from './choose-engine.ts';
import type { Engine } from './port.ts';

const fake = (name: Engine['name']): Engine => ({ name }) as Engine; // nothing but its name is looked at
const both: EngineMakers = { native: () => fake('native'), typescript: () => fake('typescript') };
const without: EngineMakers = {
  ...both,
  native: () => {
    throw new MeshError('ERR_UNSUPPORTED', 'not built');
  },
};

function logger() {
  const lines: string[] = [];
  const sink = { write: (line: string) => void lines.push(line), flush() {}, pendingBytes: 0 };
  return { lines, log: new LogWriter({ format: 'plain', filter: 'info', sink }).logger };
}

test('auto takes the native engine, without a word', (t) => {
  const { lines, log } = logger();
  t.is(chooseEngine('auto', both, log).name, 'native');
  t.deepEqual(lines, []);
});

test('auto falls back with one line that says why', (t) => {
  const { lines, log } = logger();
  t.is(chooseEngine('auto', without, log).name, 'typescript');
  t.is(lines.length, 1);
  t.regex(lines[0] ?? '', /native engine unavailable.*not built/);
});

test('an engine that is named is that engine or none', (t) => {
  const { log } = logger();
  t.is(chooseEngine('typescript', both, log).name, 'typescript');
  t.throws(() => chooseEngine('native', without, log), { code: 'ERR_UNSUPPORTED' });
});

test('an error of another kind is not taken for a missing engine', (t) => {
  const broken: EngineMakers = {
    ...both,
    native: () => {
      throw new TypeError('a bug');
    },
  };
  t.throws(() => chooseEngine('auto', broken, logger().log), { instanceOf: TypeError });
});

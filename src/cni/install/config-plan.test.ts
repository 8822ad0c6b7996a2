import test from 'ava';
import {
  type ConfigFile,
  findConfigFault,
  findSkipped,
  type InstallMode,
  planConfig,
  planRemoval,
} from './config-plan.ts';

const ENTRY = { type: 'istio-cni' };
const CHAINED: InstallMode = { kind: 'chained' };
const OWNED: InstallMode = { kind: 'owned', file: '02-istio-cni.conflist' };
const STANDALONE: InstallMode = { kind: 'standalone', file: 'YYY-istio-cni.conf' };

const list = (name: string, ...types: string[]): ConfigFile => ({
  name,
  text: JSON.stringify({ cniVersion: '1.0.0', name: 'net', plugins: types.map((type) => ({ type })) }),
});
const single = (name: string, type: string): ConfigFile => ({ name, text: JSON.stringify({ type }) });
const broken = (name: string): ConfigFile => ({ name, text: '{' });

const writes = test.macro(
  (t, files: readonly ConfigFile[], mode: InstallMode, file: string, types: readonly string[], remove?: string) => {
    const plan = planConfig(files, mode, ENTRY);
    if (plan.action !== 'write') return t.fail('nothing is written');
    t.is(plan.file, file);
    t.is(plan.remove, remove);
    const value = JSON.parse(plan.text);
    t.deepEqual(
      (value.plugins ?? [value]).map(({ type }: { type: string }) => type),
      types,
    );
    const after = [...files.filter(({ name }) => name !== file && name !== remove), { name: file, text: plan.text }];
    t.is(findConfigFault(after, mode, file), undefined);
    t.deepEqual(planConfig(after, mode, ENTRY), { action: 'write', file, text: plan.text });
  },
);
test(
  'the first file by name is joined',
  writes,
  [list('20-b.conflist', 'b'), list('10-a.conflist', 'a')],
  CHAINED,
  '10-a.conflist',
  ['a', 'istio-cni'],
);
test(
  'files that no runtime would use are passed over',
  writes,
  [broken('00.conf'), { name: '01.txt', text: '{}' }, list('10-a.conflist', 'a')],
  CHAINED,
  '10-a.conflist',
  ['a', 'istio-cni'],
);
test(
  'a single configuration becomes a list and its file goes',
  writes,
  [single('10-a.conf', 'a')],
  CHAINED,
  '10-a.conflist',
  ['a', 'istio-cni'],
  '10-a.conf',
);
test(
  'a configured name wins',
  writes,
  [list('10-a.conflist', 'a'), list('20-b.conflist', 'b')],
  { kind: 'chained', name: '20-b.conflist' },
  '20-b.conflist',
  ['b', 'istio-cni'],
);
test(
  'a configured name is also tried with the other extension',
  writes,
  [list('20-b.conflist', 'b')],
  { kind: 'chained', name: '20-b.conf' },
  '20-b.conflist',
  ['b', 'istio-cni'],
);
test(
  'owned: a copy with the entry, the list of the node stays',
  writes,
  [list('10-a.conflist', 'a', 'c')],
  OWNED,
  '02-istio-cni.conflist',
  ['a', 'c', 'istio-cni'],
);
test('standalone: the entry alone', writes, [list('10-a.conflist', 'a')], STANDALONE, 'YYY-istio-cni.conf', [
  'istio-cni',
]);

test('with no usable file there is nothing to join yet', (t) => {
  for (const mode of [CHAINED, OWNED]) t.deepEqual(planConfig([broken('10.conf')], mode, ENTRY), { action: 'wait' });
  t.deepEqual(planConfig([list('10-a.conflist', 'a')], { kind: 'chained', name: 'b.conf' }, ENTRY), { action: 'wait' });
});

const faulty = test.macro(
  (t, files: readonly ConfigFile[], mode: InstallMode, written: string | undefined, fault: RegExp) => {
    t.regex(findConfigFault(files, mode, written) ?? 'no fault', fault);
  },
);
test(
  'fault: the first pass',
  faulty,
  [list('10-a.conflist', 'a', 'istio-cni')],
  CHAINED,
  undefined,
  /nothing was installed/,
);
test('fault: the entry is gone', faulty, [list('10-a.conflist', 'a')], CHAINED, '10-a.conflist', /lost our entry/);
test(
  'fault: another file comes first',
  faulty,
  [list('05-z.conflist', 'z'), list('10-a.conflist', 'istio-cni')],
  CHAINED,
  '10-a.conflist',
  /05-z.conflist is used/,
);
test('fault: our file is gone', faulty, [], CHAINED, '10-a.conflist', /no file is used/);
test(
  'fault: the node got another plugin',
  faulty,
  [list('02-istio-cni.conflist', 'a', 'istio-cni'), list('10-a.conflist', 'a', 'new')],
  OWNED,
  '02-istio-cni.conflist',
  /lacks the plugin new/,
);
test(
  'fault: the standalone file is another program’s',
  faulty,
  [single('YYY-istio-cni.conf', 'x')],
  STANDALONE,
  'YYY-istio-cni.conf',
  /not ours/,
);

test('removal takes the entry out, or the file where it was all', (t) => {
  const files = [
    list('10-a.conflist', 'a', 'istio-cni'),
    single('YYY-istio-cni.conf', 'istio-cni'),
    list('20.conflist', 'b'),
  ];
  const removals = planRemoval(files, CHAINED);
  t.deepEqual(
    removals.map(({ action, file }) => [action, file]),
    [
      ['write', '10-a.conflist'],
      ['delete', 'YYY-istio-cni.conf'],
    ],
  );
  t.deepEqual(planRemoval([list('02-istio-cni.conflist', 'a', 'istio-cni')], OWNED), [
    { action: 'delete', file: '02-istio-cni.conflist' },
  ]);
});

test('what is passed over is said with its reason', (t) => {
  t.deepEqual(findSkipped([broken('10.conf'), { name: 'x.txt', text: '{' }, list('20.conflist', 'a')]), [
    '10.conf: a network configuration is not JSON',
  ]);
});

import test from 'ava';
import fc from 'fast-check';
import { silentLogger } from '../../core/logger.ts';
import type { RunCommand } from '../redirect/index.ts';
import { HostProbes, hostRuleset, parseElements } from './host-probes.ts';

function recorder() {
  const inputs: string[] = [];
  const run: RunCommand = async (_netns, _command, options) => {
    inputs.push(options?.input ?? '');
    return { status: 0, stdout: '', stderr: '' };
  };
  return { inputs, probes: new HostProbes(run, silentLogger) };
}

test('only what a process of the node sends gets the address of probes', (t) => {
  const rules = hostRuleset()
    .split('\n')
    .filter((line) => line.startsWith('add rule'));
  t.is(rules.length, 2);
  for (const rule of rules)
    t.regex(rule, /tcp flags .* == syn meta skuid .* daddr @istio-inpod-probes-v[46] counter snat/);
});

test('an address goes into the set of its family, with its pod as comment', async (t) => {
  const { inputs, probes } = recorder();
  await probes.add('uid-1', ['10.0.0.1', 'fd00::1']);
  t.regex(inputs[0] ?? '', /istio-inpod-probes-v4 \{ 10\.0\.0\.1 comment "uid-1" \}/);
  t.regex(inputs[0] ?? '', /istio-inpod-probes-v6 \{ fd00::1 comment "uid-1" \}/);
  await probes.add('uid-1', ['10.0.0.1']);
  t.is(inputs.length, 1, 'what is there is not written again');
});

test('an address that became another pod’s stays when the first one goes', async (t) => {
  const { inputs, probes } = recorder();
  await probes.add('old', ['10.0.0.1']);
  await probes.add('new', ['10.0.0.1']);
  await probes.remove('old');
  t.is(inputs.length, 2);
  await probes.remove('new');
  t.regex(inputs[2] ?? '', /delete element .* \{ 10\.0\.0\.1 \}/);
});

test('a UID cannot leave its quotes', async (t) => {
  const { inputs, probes } = recorder();
  await probes.add('a" }\ndelete table inet x', ['10.0.0.1']);
  t.false((inputs[0] ?? '').includes('\ndelete table'));
});

test('changes asked for while nft runs go in one more run, in order', async (t) => {
  const { inputs, probes } = recorder();
  await Promise.all([
    probes.add('a', ['10.0.0.1']),
    probes.add('b', ['10.0.0.2']),
    probes.remove('b'),
    probes.add('c', ['10.0.0.2']),
  ]);
  t.is(inputs.length, 2);
  const [first = '', second = ''] = inputs;
  t.regex(first, /10\.0\.0\.1 comment "a"/);
  t.regex(second, /comment "b"[\s\S]*delete element[^\n]*10\.0\.0\.2[\s\S]*comment "c"/);
});

test('a change that nft refuses fails alone, and may be asked for again', async (t) => {
  const inputs: string[] = [];
  const run: RunCommand = async (_netns, _command, options) => {
    inputs.push(options?.input ?? '');
    return { status: options?.input?.includes('"bad"') ? 1 : 0, stdout: '', stderr: 'no' };
  };
  const probes = new HostProbes(run, silentLogger);
  const asked = await Promise.allSettled([
    probes.add('first', ['10.0.0.1']),
    probes.add('bad', ['10.0.0.2']),
    probes.add('good', ['10.0.0.3']),
  ]);
  t.deepEqual(
    asked.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  await t.throwsAsync(probes.add('bad', ['10.0.0.2']), { code: 'ERR_REDIRECT' });
  await probes.remove('bad');
  t.is(
    inputs.filter((input) => input.includes('10.0.0.2')).length,
    3,
    'in the batch, by itself, again; nothing to remove',
  );
});

const LISTED = JSON.stringify({
  nftables: [
    { metainfo: { version: '1.0.6' } },
    { set: { name: 'istio-inpod-probes-v4', elem: [{ elem: { val: '10.0.0.1', comment: 'a' } }, '10.0.0.9'] } },
    { set: { name: 'istio-inpod-probes-v6', elem: [{ elem: { val: 'fd00::1', comment: 'gone' } }] } },
  ],
});

test('what an agent before left stays until it is known whose it is', async (t) => {
  const inputs: string[] = [];
  const run: RunCommand = async (_netns, _command, options) => {
    if (options?.input) inputs.push(options.input);
    return { status: 0, stdout: options?.input ? '' : LISTED, stderr: '' };
  };
  const probes = new HostProbes(run, silentLogger);
  await probes.install();
  t.false((inputs[0] ?? '').includes('flush set'));
  await probes.add('a', ['10.0.0.1']);
  t.is(inputs.length, 1, 'it is there');
  await probes.settle((uid) => uid === 'a');
  t.is(inputs.length, 2);
  t.regex(inputs[1] ?? '', /delete element .* \{ fd00::1 \}/);
  t.false((inputs[1] ?? '').includes('10.0.0.1'));
});

test('any text of nft is read without a throw', (t) => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => parseElements(text).size >= 0));
  t.pass();
});

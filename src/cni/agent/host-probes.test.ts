import test from 'ava';
import { silentLogger } from '../../core/logger.ts';
import type { RunCommand } from '../redirect/index.ts';
import { HostProbes, hostRuleset } from './host-probes.ts';

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

import test from 'ava';
import fc from 'fast-check';
import { silentLogger } from '../../core/logger.ts';
import type { RunCommand } from '../redirect/index.ts';
import { hostChain, IptablesHostProbes, parseHostChain } from './iptables-host-probes.ts';

const OWNERS = new Map([
  ['10.0.0.1', 'uid-1'],
  ['fd00::1', 'uid-1'],
]);

test('the chain of a family has its addresses with their pods', (t) => {
  t.is(
    hostChain(4, OWNERS, false),
    `*nat
:ISTIO_POSTRT - [0:0]
-I POSTROUTING -j ISTIO_POSTRT
-A ISTIO_POSTRT -d 10.0.0.1/32 -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m owner --socket-exists -m comment --comment uid-1 -j SNAT --to-source 169.254.7.127
COMMIT
`,
  );
  t.regex(hostChain(6, OWNERS, true), /-d fd00::1\/128 .*--to-source fd16:9254:7127:1337:ffff:ffff:ffff:ffff/);
  t.false(hostChain(6, OWNERS, true).includes('POSTROUTING'));
});

test('a UID is one word, whatever it is', (t) => {
  fc.assert(
    fc.property(fc.string(), (uid) => {
      const lines = hostChain(4, new Map([['10.0.0.1', uid]]), true).split('\n');
      t.is(lines.length, 5);
      t.regex(lines[2] ?? '', /--comment [\w.:-]+ -j SNAT/);
    }),
  );
});

/** Remembers what was restored; `fail` makes the next restore fail. */
function recorder() {
  const state = { inputs: [] as string[], fail: false };
  const run: RunCommand = async (_netns, [tool = '', ...args], options) => {
    if (args.includes('--version')) return { status: 0, stdout: 'iptables v1.8.9', stderr: '' };
    if (!tool.endsWith('-restore')) return { status: 0, stdout: '', stderr: '' };
    if (state.fail) return { status: 1, stdout: '', stderr: 'no' };
    state.inputs.push(options?.input ?? '');
    return { status: 0, stdout: '', stderr: '' };
  };
  return { state, probes: new IptablesHostProbes({ run, log: silentLogger, ipv6: false }) };
}

test('an address that became another pod’s stays when the first one goes', async (t) => {
  const { state, probes } = recorder();
  await probes.install();
  await probes.add('old', ['10.0.0.1']);
  await probes.add('new', ['10.0.0.1']);
  await probes.add('new', ['10.0.0.1']);
  await probes.remove('old');
  t.is(state.inputs.length, 3);
  t.regex(state.inputs[2] ?? '', /--comment new/);
  await probes.remove('new');
  t.false(state.inputs[3]?.includes('10.0.0.1'));
});

test('what could not be written is written by the next try', async (t) => {
  const { state, probes } = recorder();
  await probes.install();
  state.fail = true;
  await t.throwsAsync(probes.add('a', ['10.0.0.1']), { code: 'ERR_REDIRECT' });
  state.fail = false;
  await probes.add('a', ['10.0.0.1']);
  t.regex(state.inputs.at(-1) ?? '', /10\.0\.0\.1/);
});

test('what an agent before left is read back', (t) => {
  const owners = new Map([
    ['10.0.0.1', 'a'],
    ['10.0.0.2', 'b-1'],
  ]);
  t.deepEqual(parseHostChain(hostChain(4, owners, true)), owners);
  t.is(parseHostChain('-A POSTROUTING -d 10.0.0.1/32 -j ACCEPT\n').size, 0);
});

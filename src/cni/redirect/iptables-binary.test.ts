import test from 'ava';
import { chooseIptables } from './iptables-binary.ts';
import type { RunCommand } from './netns-command.ts';

/** A machine with these tools; a legacy dump of its own. */
function machine(tools: readonly string[], legacyDump = ''): { run: RunCommand; calls: string[] } {
  const calls: string[] = [];
  const run: RunCommand = async (_netns, [tool = '', ...args]) => {
    calls.push([tool, ...args].join(' '));
    const base = tool.replace(/-save$/, '');
    if (!tools.includes(base)) throw new Error('ENOENT');
    const stdout = args.includes('--version') ? `${base} v1.8.9` : tool.endsWith('legacy-save') ? legacyDump : '';
    return { status: 0, stdout, stderr: '' };
  };
  return { run, calls };
}

const BOTH = ['iptables-legacy', 'ip6tables-legacy', 'iptables-nft', 'ip6tables-nft', 'iptables', 'ip6tables'];
const RULES = '*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j DOCKER\nCOMMIT\n';

const chooses = test.macro(async (t, tools: readonly string[], dump: string, name: string) => {
  t.is((await chooseIptables(machine(tools, dump).run, { ipv6: true })).name, name);
});
test('legacy where the node has rules in it', chooses, BOTH, RULES, 'iptables-legacy');
test('nft otherwise', chooses, BOTH, '', 'iptables-nft');
test(
  'nft when the legacy dump has chains but no rule',
  chooses,
  BOTH,
  '*nat\n:INPUT ACCEPT\n:OUTPUT ACCEPT\nCOMMIT',
  'iptables-nft',
);
test('the plain name when there are no others', chooses, ['iptables', 'ip6tables'], '', 'iptables');

test('without ip6tables only when IPv6 is off', async (t) => {
  const { run } = machine(['iptables-nft']);
  t.is((await chooseIptables(run, { ipv6: false })).name, 'iptables-nft');
  await t.throwsAsync(chooseIptables(run, { ipv6: true }), { code: 'ERR_UNSUPPORTED' });
});

test('a forced variant is the only one tried', async (t) => {
  const { run, calls } = machine(BOTH, RULES);
  t.is((await chooseIptables(run, { ipv6: true, force: 'nft' })).name, 'iptables-nft');
  t.false(calls.some((call) => call.includes('legacy')));
  await t.throwsAsync(chooseIptables(machine([]).run, { ipv6: false, force: 'legacy' }), { code: 'ERR_UNSUPPORTED' });
});

test('the test rule is taken out again', async (t) => {
  const { run, calls } = machine(BOTH);
  await chooseIptables(run, { ipv6: true });
  const changes = calls.filter((call) => / -[AD] INPUT/.test(call));
  t.deepEqual(
    changes.map((call) => (/ -A /.test(call) ? 'add' : 'delete')),
    ['add', 'delete', 'add', 'delete'],
  );
});

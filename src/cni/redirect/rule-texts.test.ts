/** The texts against golden files; `UPDATE_GOLDEN=1` rewrites them, to be read in review. */
import { readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { iptablesRemoval, iptablesRuleset, parseResidue } from './iptables-text.ts';
import { nftRemoval, nftRuleset } from './nft-text.ts';
import type { CaptureOptions } from './port.ts';
import { captureRules, drainRules, type Rule } from './rules.ts';

const DEFAULT: CaptureOptions = { dnsCapture: true, ingressBypass: false, virtualInterfaces: [], ipv6: true };
const CLEAN = parseResidue('');

const CASES: Readonly<Record<string, { readonly rules: readonly Rule[]; readonly families?: readonly (4 | 6)[] }>> = {
  default: { rules: captureRules(DEFAULT) },
  'ipv4-only': { rules: captureRules({ ...DEFAULT, ipv6: false }), families: [4] },
  'no-dns': { rules: captureRules({ ...DEFAULT, dnsCapture: false }) },
  'ingress-bypass': { rules: captureRules({ ...DEFAULT, ingressBypass: true }) },
  'virtual-interfaces': { rules: captureRules({ ...DEFAULT, virtualInterfaces: ['vmtap0', 'docker0'] }) },
  exclusions: {
    rules: captureRules({
      ...DEFAULT,
      exclusions: {
        outboundPorts: [9042],
        outboundRanges: [
          { ip: '10.0.0.0', prefixLength: 8 },
          { ip: '2001:db8::', prefixLength: 32 },
        ],
        inboundPorts: [9090],
      },
    }),
  },
  drain: { rules: drainRules() },
};

const golden = test.macro((t, name: string, text: string) => {
  const file = new URL(`./testdata/${name}.golden`, import.meta.url);
  if (process.env.UPDATE_GOLDEN) writeFileSync(file, text);
  t.is(text, readFileSync(file, 'utf8'));
});

const BOTH: readonly (4 | 6)[] = [4, 6];
for (const [name, { rules, families = BOTH }] of Object.entries(CASES)) {
  test(`nft: ${name}`, golden, `${name}.nft`, nftRuleset(rules, families));
  for (const family of families)
    test(`iptables IPv${family}: ${name}`, golden, `${name}.ip${family}`, iptablesRuleset(rules, family, CLEAN));
}
test('nft: removal', golden, 'removal.nft', nftRemoval());

/** What a pod enrolled by Istio's agent shows (iptables-save), shortened to nat and mangle. */
const RECORDED = `*mangle
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_PRERT - [0:0]
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
-A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_PRERT - [0:0]
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
COMMIT
`;

test('what another agent left is recognised', (t) => {
  const residue = parseResidue(RECORDED);
  t.true(residue.redirects);
  t.deepEqual(
    residue.chains.map(({ table, chain }) => `${table} ${chain}`),
    ['mangle ISTIO_OUTPUT', 'mangle ISTIO_PRERT', 'nat ISTIO_OUTPUT', 'nat ISTIO_PRERT'],
  );
  t.deepEqual(
    residue.jumps.map(({ table, rule }) => `${table} ${rule}`),
    [
      'mangle PREROUTING -j ISTIO_PRERT',
      'mangle OUTPUT -j ISTIO_OUTPUT',
      'nat PREROUTING -j ISTIO_PRERT',
      'nat OUTPUT -j ISTIO_OUTPUT',
    ],
  );
});

test('jumps that are there are not added again, doubles and foreign chains go', (t) => {
  const residue = parseResidue(
    '*nat\n:ISTIO_PRERT - [0:0]\n:ISTIO_OLD - [0:0]\n-A PREROUTING -j ISTIO_PRERT\n-A PREROUTING -j ISTIO_PRERT\n-A OUTPUT -j ISTIO_OLD\nCOMMIT\n',
  );
  const nat = iptablesRuleset([], 4, residue).split('*nat\n')[1];
  t.is(
    nat,
    [
      ':ISTIO_PRERT - [0:0]',
      ':ISTIO_OUTPUT - [0:0]',
      ':ISTIO_OLD - [0:0]',
      '-D PREROUTING -j ISTIO_PRERT',
      '-D OUTPUT -j ISTIO_OLD',
      '-X ISTIO_OLD',
      '-A OUTPUT -j ISTIO_OUTPUT',
      'COMMIT',
      '',
    ].join('\n'),
  );
});

test('removal names what is there and nothing else', (t) => {
  t.is(iptablesRemoval(CLEAN), '');
  t.is(
    iptablesRemoval(
      parseResidue(
        '*nat\n:PREROUTING ACCEPT [0:0]\n:ISTIO_PRERT - [0:0]\n-A PREROUTING -j ISTIO_PRERT\n-A PREROUTING -j DOCKER\nCOMMIT\n',
      ),
    ),
    '*nat\n:ISTIO_PRERT - [0:0]\n-D PREROUTING -j ISTIO_PRERT\n-X ISTIO_PRERT\nCOMMIT\n',
  );
});

test('any dump is read without a throw', (t) => {
  const line = fc.oneof(
    fc.string(),
    fc.constantFrom('*nat', ':ISTIO_X - [0:0]', '-A ISTIO_X -j REDIRECT', '-A OUTPUT -j ISTIO_X'),
  );
  fc.assert(
    fc.property(fc.array(line), (lines) => {
      const residue = parseResidue(lines.join('\n'));
      t.true(residue.jumps.length <= lines.length * 100);
    }),
  );
});

const options = fc.record({
  dnsCapture: fc.boolean(),
  ingressBypass: fc.boolean(),
  virtualInterfaces: fc.uniqueArray(fc.constantFrom('a0', 'b1', 'c2')),
  ipv6: fc.boolean(),
});

test('whatever the options, the tunnel’s own sockets are never redirected and only a SYN is', (t) => {
  fc.assert(
    fc.property(options, (chosen) => {
      for (const { matches, action } of captureRules(chosen).filter((rule) => rule.action.do === 'redirect')) {
        const isUdp = matches.some((m) => m.on === 'protocol' && m.protocol === 'udp');
        t.true(isUdp || matches.some((m) => m.on === 'syn'));
        if (matches.some((m) => m.on === 'in-interface')) continue; // comes from elsewhere, has no mark of ours
        const spared = matches.flatMap((m) => (m.on === 'mark' && m.not ? [m.mark] : []));
        t.deepEqual(spared, [0x539, 0x111], JSON.stringify(action));
      }
    }),
  );
});

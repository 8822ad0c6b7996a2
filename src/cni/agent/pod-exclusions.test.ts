import test from 'ava';
import fc from 'fast-check';
import { exclusionEffect, readExclusions } from './pod-exclusions.ts';

test('lists of ports and ranges, each once, ranges without host bits', (t) => {
  const { exclusions, problems } = readExclusions({
    'culvert.dev/exclude-outbound-ports': '9042, 5432,9042',
    'culvert.dev/exclude-outbound-ranges': '10.1.2.3/8, 2001:db8::7, 192.0.2.1',
    'culvert.dev/exclude-inbound-ports': '9090',
  });
  t.deepEqual(problems, []);
  t.deepEqual(exclusions, {
    outboundPorts: [9042, 5432],
    outboundRanges: [
      { ip: '10.0.0.0', prefixLength: 8 },
      { ip: '2001:db8::7', prefixLength: 128 },
      { ip: '192.0.2.1', prefixLength: 32 },
    ],
    inboundPorts: [9090],
  });
});

const refused = test.macro((t, name: string, text: string) => {
  const { exclusions, problems } = readExclusions({ [name]: text });
  t.is(exclusions, undefined);
  t.is(problems.length, 1);
});
test('one wrong entry: nothing is excluded', refused, 'culvert.dev/exclude-outbound-ports', '80,http');
test('a port that is none', refused, 'culvert.dev/exclude-inbound-ports', '65536');
test('a port of the tunnel', refused, 'culvert.dev/exclude-inbound-ports', '15008');
test('a range that is none', refused, 'culvert.dev/exclude-outbound-ranges', '10.0.0.0/33');
test('too many', refused, 'culvert.dev/exclude-outbound-ports', Array.from({ length: 65 }, (_, i) => i + 1).join());

test('the effect names every kind', (t) => {
  const { exclusions } = readExclusions({
    'culvert.dev/exclude-outbound-ports': '9042',
    'culvert.dev/exclude-inbound-ports': '9090',
    'culvert.dev/exclude-outbound-ranges': '10.0.0.0/8',
  });
  const effect = exclusions ? exclusionEffect(exclusions) : '';
  for (const word of ['9042', '9090', '10.0.0.0/8', 'STRICT']) t.true(effect.includes(word), word);
});

test('any text is read without a throw', (t) => {
  const names = fc.constantFrom('ports', 'ranges');
  fc.assert(
    fc.property(names, fc.string(), (kind, text) => {
      const { exclusions, problems } = readExclusions({ [`culvert.dev/exclude-outbound-${kind}`]: text });
      t.true(exclusions === undefined || problems.length === 0);
    }),
  );
});

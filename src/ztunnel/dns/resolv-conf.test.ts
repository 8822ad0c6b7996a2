import test from 'ava';
import fc from 'fast-check';
import { canonicalIp } from '../../model/ip.ts';
import { parseResolvConf } from './resolv-conf.ts';

const line = fc.oneof(
  fc.tuple(
    fc.constantFrom('nameserver', 'search', 'domain', 'options', '#', ''),
    fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain(), fc.string()),
  ),
  fc.tuple(fc.string(), fc.string()),
);

test('any text gives at most three nameservers, each an address, and no empty domain', (t) => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), (lines) => {
      const { nameservers, search } = parseResolvConf(lines.map((words) => words.join(' ')).join('\n'));
      t.true(nameservers.length <= 3);
      for (const ip of nameservers) t.is(canonicalIp(ip), ip);
      t.false(search.includes(''));
    }),
  );
});

import { BlockList, isIP, isIPv4 } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import { canonicalIp, compileRange, formatIp, formatIpPort, parseIp, parseIpPort, rangeContains } from './ip.ts';

test('every generated address parses, and its canonical form parses to the same value', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
      const parsed = parseIp(text);
      t.truthy(parsed);
      if (parsed) t.deepEqual(parseIp(formatIp(parsed)), parsed);
    }),
  );
});

test('text is an address exactly when the runtime says so', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'0123456789abcdef:.') })), (text) => {
      t.is(parseIp(text) !== undefined, isIP(text) !== 0);
    }),
    { numRuns: 2_000 },
  );
});

const canonical = test.macro((t, text: string, expected: string | undefined) => t.is(canonicalIp(text), expected));
test('mapped addresses become IPv4', canonical, '::ffff:10.0.0.1', '10.0.0.1');
test('the longest run of zeros is shortened', canonical, '2001:0:0:1:0:0:0:1', '2001:0:0:1::1');
test('a single zero group stays', canonical, '1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7');
test('the unspecified address', canonical, '0:0:0:0:0:0:0:0', '::');
test('leading zeros of IPv4 are refused', canonical, '10.0.0.01', undefined);
test('two gaps are refused', canonical, '1::2::3', undefined);

test('a range contains what a block list contains', (t) => {
  const family = fc.constantFrom(4 as const, 6 as const);
  const pair = family.chain((kind) =>
    fc.tuple(
      kind === 4 ? fc.ipV4() : fc.ipV6(),
      fc.integer({ min: 0, max: kind === 4 ? 32 : 128 }),
      fc.oneof(fc.ipV4(), fc.ipV6()),
    ),
  );
  fc.assert(
    fc.property(pair, ([ip, prefixLength, candidate]) => {
      const range = compileRange({ ip, prefixLength });
      const address = parseIp(candidate);
      if (!range || !address) return t.fail();
      const base = canonicalIp(ip) ?? '';
      if (isIPv4(base) !== isIPv4(ip)) return; // a mapped range is outside what the block list can say
      const list = new BlockList();
      list.addSubnet(base, prefixLength, isIPv4(base) ? 'ipv4' : 'ipv6');
      const sameFamily = isIPv4(base) === (address.family === 4);
      const text = formatIp(address);
      t.is(rangeContains(range, address), sameFamily && list.check(text, address.family === 4 ? 'ipv4' : 'ipv6'));
    }),
  );
});

test('host bits of a range are ignored', (t) => {
  const range = compileRange({ ip: '127.0.0.1', prefixLength: 24 });
  const ip = parseIp('127.0.0.2');
  t.true(range && ip && rangeContains(range, ip));
});

test('a prefix longer than the address is no range', (t) =>
  t.is(compileRange({ ip: '10.0.0.0', prefixLength: 33 }), undefined));

test('addresses with port survive formatting', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 0, max: 65_535 }), (text, port) => {
      const ip = canonicalIp(text) ?? '';
      t.deepEqual(parseIpPort(formatIpPort({ ip, port })), { ip, port });
    }),
  );
  for (const bad of [
    '',
    '10.0.0.1',
    '10.0.0.1:',
    '10.0.0.1:65536',
    'fd00::1:80',
    '[10.0.0.1]:80',
    'host:80',
    '[::1]80',
  ]) {
    t.is(parseIpPort(bad), undefined, bad);
  }
});

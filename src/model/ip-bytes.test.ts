import { BlockList, isIP, SocketAddress } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import { canonicalIp } from './ip.ts';
import { ipBytes, ipText } from './ip-bytes.ts';

const reads = test.macro((t, text: string, canonical: string | undefined) => {
  t.is(canonicalIp(text), canonical);
});
test('IPv4', reads, '10.0.0.1', '10.0.0.1');
test('IPv4 with a leading zero is refused', reads, '10.0.0.01', undefined);
test('IPv4 with a large part is refused', reads, '10.0.0.256', undefined);
test('the longest run of zeros is shortened', reads, 'fd00:0:0:1:0:0:0:2', 'fd00:0:0:1::2');
test('the first of two equal runs is shortened', reads, '1:0:0:2:0:0:3:4', '1::2:0:0:3:4');
test('a single zero group stays', reads, '1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7');
test('unspecified address', reads, '0:0:0:0:0:0:0:0', '::');
test('upper case becomes lower case', reads, 'FD00::AB', 'fd00::ab');
test('a mapped address is the IPv4 address', reads, '::ffff:10.0.0.1', '10.0.0.1');
test('a zone is refused', reads, 'fe80::1%eth0', undefined);
test('two shortenings are refused', reads, '1::2::3', undefined);
test('too few groups are refused', reads, '1:2:3', undefined);
test('too many groups are refused', reads, '1:2:3:4:5:6:7:8:9', undefined);
test('nothing is refused', reads, '', undefined);

test('bytes of another length have no text', (t) => {
  t.is(ipText(new Uint8Array(5)), undefined);
});

test('text and bytes agree with each other and with the platform', (t) => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 }).map((b) => Uint8Array.from(b)),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  );
  fc.assert(
    fc.property(bytes, (b) => {
      const text = ipText(b) ?? '';
      if (isIP(text) === 0) return false;
      const again = ipText(ipBytes(text) ?? new Uint8Array());
      const family = text.includes(':') ? 'ipv6' : 'ipv4';
      const list = new BlockList();
      list.addAddress(text, family);
      return again === text && list.check(new SocketAddress({ address: text, family }));
    }),
  );
  t.pass();
});

test('whatever text is given, the parser answers', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6()), (text) => {
      const parsed = canonicalIp(text);
      return isIP(text) === 0 ? parsed === undefined : parsed !== undefined;
    }),
  );
  t.pass();
});

import test from 'ava';
import fc from 'fast-check';
import { addressKey, EVENT_BYTES, podConfigValue, readAddress, readEvent, readPodFlags } from './layout.ts';

test('an address survives the way into a key and back', (t) => {
  fc.assert(fc.property(fc.ipV4(), (ip) => t.is(readAddress(addressKey(ip)), ip)));
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      const key = Buffer.from(bytes);
      t.deepEqual(addressKey(readAddress(key)), key);
    }),
  );
});

test('what is no address is refused', (t) => {
  for (const ip of ['', 'host', '10.0.0', '10.0.0.256', 'fe80::1%eth0', '10.0.0.1/8']) {
    t.throws(() => addressKey(ip), { code: 'ERR_MALFORMED' }, ip);
  }
});

test('flags are read back from a configuration', (t) => {
  fc.assert(
    fc.property(fc.nat(15), (flags) =>
      t.is(readPodFlags(podConfigValue({ flags, ip4: '10.0.0.1', ip6: undefined })), flags),
    ),
  );
});

test('a record of any bytes is an event or ERR_MALFORMED', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: EVENT_BYTES * 2 }), (bytes) => {
      try {
        t.is(typeof readEvent(Buffer.from(bytes)).ip, 'string');
      } catch (error) {
        t.like(error, { code: 'ERR_MALFORMED' });
      }
    }),
  );
});

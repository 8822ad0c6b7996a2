/** The bytes that src/bpf/layout.ts builds are those of the C structs in native/bpf/capture.h. */
import test from 'ava';
import {
  addressKey,
  COUNTER_NAMES,
  cookieKey,
  cookieOfExclusion,
  excludedPortKey,
  excludedRangeKey,
  POD_FLAGS,
  podConfigValue,
  readEvent,
} from '../../src/bpf/layout.ts';
import { runC } from './compile.ts';

/** Prints the bytes of a C expression of that type as hex. */
function bytesInC(type: string, value: string): string {
  return runC(`#include "capture.h"
    #include <arpa/inet.h>
    #include <stdio.h>
    #include <string.h>
    static struct capture_address address(const char *ip) {
      struct capture_address out;
      if (strchr(ip, ':')) { inet_pton(AF_INET6, ip, &out); return out; }
      memset(&out, 0, sizeof(out));
      out.words_be[2] = htonl(0xffff);
      inet_pton(AF_INET, ip, &out.words_be[3]);
      return out;
    }
    static __u32 word(const char *ip, int index) { return address(ip).words_be[index]; }
    int main() {
      (void)address; (void)word;
      ${type} value = ${value};
      const unsigned char *bytes = (const unsigned char *)&value;
      for (unsigned i = 0; i < sizeof(value); i++) printf("%02x", bytes[i]);
    }`);
}

for (const ip of ['10.1.2.3', '255.255.255.255', 'fd00::1', '::', '2001:db8:0:1::ff:0', '::ffff:10.1.2.3']) {
  test(`the key of ${ip}`, (t) => {
    t.is(addressKey(ip).toString('hex'), bytesInC('struct capture_address', `address("${ip}")`));
  });
}

test('the key of a cookie', (t) => {
  t.is(cookieKey(0x1122334455667788n).toString('hex'), bytesInC('__u64', '0x1122334455667788ULL'));
});

test('the configuration of a pod', (t) => {
  const flags = POD_FLAGS.active | POD_FLAGS.dns | POD_FLAGS.ingressBypass | POD_FLAGS.ipv6;
  const ip6 = [0, 1, 2, 3].map((index) => `word("fd00::7", ${index})`).join(', ');
  const inC = `{ .flags = POD_ACTIVE | POD_DNS | POD_INGRESS_BYPASS | POD_IPV6, .ip4_be = word("10.1.2.3", 3), .ip6_be = { ${ip6} } }`;
  t.is(podConfigValue({ flags, ip4: '10.1.2.3', ip6: 'fd00::7' }).toString('hex'), bytesInC('struct pod_config', inC));
  const none = podConfigValue({ flags: 0, ip4: undefined, ip6: undefined });
  t.is(none.toString('hex'), bytesInC('struct pod_config', '{ 0 }'));
});

test('the keys of exclusions', (t) => {
  t.is(
    excludedPortKey(77n, 8080, 'inbound').toString('hex'),
    bytesInC('struct excluded_port', '{ .netns = 77, .port = 8080, .inbound = 1 }'),
  );
  const range = '{ .prefix_bits = 64 + 96 + 8, .netns = { 2, 1 }, .address = address("10.0.0.0") }';
  t.is(
    excludedRangeKey(0x1_0000_0002n, { ip: '10.0.0.0', prefixLength: 8 }).toString('hex'),
    bytesInC('struct excluded_range', range),
  );
  t.is(cookieOfExclusion(excludedPortKey(77n, 1, 'outbound')), 77n);
  t.is(cookieOfExclusion(excludedRangeKey(77n, { ip: 'fd00::', prefixLength: 8 })), 77n);
});

test('an event', (t) => {
  const inC =
    '{ .netns = 77, .address = address("10.1.2.3"), .port_be = htons(8080), .reason = COUNT_BIND_REFUSED, .protocol = 6 }';
  t.deepEqual(readEvent(Buffer.from(bytesInC('struct capture_event', inC), 'hex')), {
    netnsCookie: 77n,
    ip: '10.1.2.3',
    port: 8080,
    reason: 'bindRefused',
    protocol: 6,
  });
});

test('counters have the names of the C enumeration, in its order', (t) => {
  const inC = COUNTER_NAMES.map((name) => `COUNT_${name.replaceAll(/[A-Z]/g, (c) => `_${c}`).toUpperCase()}`);
  const numbers = runC(`#include "capture.h"
    #include <stdio.h>
    int main() { int all[] = { ${inC.join(', ')}, COUNT_MAX }; for (unsigned i = 0; i < sizeof(all) / sizeof(int); i++) printf("%d ", all[i]); }`);
  t.is(numbers.trim(), [...COUNTER_NAMES, ''].map((_, index) => index).join(' '));
});

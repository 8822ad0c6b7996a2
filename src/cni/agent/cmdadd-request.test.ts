import test from 'ava';
import fc from 'fast-check';
import { MeshError } from '../../core/errors.ts';
import { parseCmdAdd } from './cmdadd-request.ts';

const BODY = {
  Netns: '/run/netns/pod',
  PodName: 'cart-1',
  PodNamespace: 'shop',
  IPs: [
    { Interface: 0, Address: { IP: '10.244.1.7', Mask: '////AA==' }, Gateway: '10.244.1.1' },
    { Interface: null, Address: { IP: 'fd00:0::7', Mask: '//////////8AAAAAAAAAAA==' }, Gateway: '' },
  ],
};

test('a request of the plugin is read, its addresses made canonical', (t) => {
  const ips = ['10.244.1.7', 'fd00::7'];
  t.deepEqual(parseCmdAdd(JSON.stringify(BODY)), { netns: '/run/netns/pod', name: 'cart-1', namespace: 'shop', ips });
});

test('IPv4 in an IPv6 address is IPv4, the same address counts once', (t) => {
  const IPs = ['::ffff:10.0.0.1', '10.0.0.1'].map((IP) => ({ Address: { IP } }));
  t.deepEqual(parseCmdAdd(JSON.stringify({ ...BODY, IPs })).ips, ['10.0.0.1']);
});

const refuses = test.macro((t, body: string, reason: RegExp) => {
  const error = t.throws(() => parseCmdAdd(body), { instanceOf: MeshError });
  t.is(error?.code, 'ERR_MALFORMED');
  t.regex(error?.message ?? '', reason);
});
test('no JSON is refused', refuses, '{', /not JSON/);
test('a list is refused', refuses, '[]', /request/);
test('a missing namespace path is refused', refuses, JSON.stringify({ ...BODY, Netns: undefined }), /Netns/);
test('a relative namespace path is refused', refuses, JSON.stringify({ ...BODY, Netns: 'run/x' }), /Netns/);
test('an empty pod name is refused', refuses, JSON.stringify({ ...BODY, PodName: '' }), /PodName/);
test('no address is refused', refuses, JSON.stringify({ ...BODY, IPs: [] }), /no address/);
test(
  'addresses that are none are refused',
  refuses,
  JSON.stringify({ ...BODY, IPs: [{ Address: { IP: 'x' } }] }),
  /no/,
);
test('more addresses than a pod can have are refused', (t) => {
  const IPs = Array.from({ length: 65 }, (_, i) => ({ Address: { IP: `10.0.0.${i}` } }));
  t.throws(() => parseCmdAdd(JSON.stringify({ ...BODY, IPs })), { message: /IPs/ });
});

test('any body is read or refused, never more', (t) => {
  const body = fc.oneof(
    fc.string(),
    fc.json(),
    fc.object({ values: [fc.string(), fc.constant(BODY)] }).map((value) => JSON.stringify(value)),
  );
  fc.assert(
    fc.property(body, (text) => {
      try {
        t.true(parseCmdAdd(text).ips.length > 0);
      } catch (error) {
        t.true(error instanceof MeshError && error.code === 'ERR_MALFORMED');
      }
    }),
  );
});

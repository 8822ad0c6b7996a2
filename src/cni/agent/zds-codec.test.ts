import test from 'ava';
import fc from 'fast-check';
import { checkHello, decodeAck, encodeRequest, type ZdsRequest } from './zds-codec.ts';

const bytes = test.macro((t, request: ZdsRequest, hex: string) => {
  t.is(Buffer.from(encodeRequest(request)).toString('hex'), hex);
});
// field 1 { 1: "u", 2 { 1: "n", 2: "s", 3: "a" } }
test(
  'add',
  bytes,
  { kind: 'add', uid: 'u', info: { name: 'n', namespace: 's', serviceAccount: 'a' } },
  '0a0e0a01751209' + '0a016e' + '120173' + '1a0161',
);
test(
  'add with a drain time of 0',
  bytes,
  { kind: 'add', uid: 'u', info: { name: 'n', namespace: 's', serviceAccount: 'a', drainMs: 0 } },
  '0a110a0175120c' + '0a016e' + '120173' + '1a0161' + 'a00600',
);
test('del has its uid in field 2', bytes, { kind: 'del', uid: 'u' }, '1203' + '120175');
test('snapshot sent', bytes, { kind: 'snapshot-sent' }, '1a00');
test('keep', bytes, { kind: 'keep', uid: 'u' }, '2a03' + '0a0175');

test('an acknowledgement, with and without an error', (t) => {
  t.is(decodeAck(Buffer.from('0a00', 'hex')), '');
  t.is(decodeAck(Buffer.from('0a040a026e6f', 'hex')), 'no');
});

test('an empty message is no acknowledgement', (t) => {
  t.throws(() => decodeAck(new Uint8Array()), { code: 'ERR_ZDS' });
});

test('hello of version 1 only', (t) => {
  t.notThrows(() => checkHello(Buffer.from('0801', 'hex')));
  t.throws(() => checkHello(Buffer.from('0802', 'hex')), { code: 'ERR_ZDS' });
  t.throws(() => checkHello(new Uint8Array()), { code: 'ERR_ZDS' });
});

test('any bytes are read or refused with ERR_ZDS', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1_024 }), (data) => {
      for (const read of [decodeAck, checkHello]) {
        try {
          read(data);
        } catch (error) {
          t.like(error, { code: 'ERR_ZDS' });
        }
      }
    }),
  );
  t.pass();
});

import test from 'ava';
import fc from 'fast-check';
import { parseIp } from '../model/ip.ts';
import { proxyHeader } from './proxy-protocol.ts';

const port = fc.nat({ max: 65_535 });
const pair = fc.oneof(fc.tuple(fc.ipV4(), fc.ipV4()), fc.tuple(fc.ipV6(), fc.ipV6()), fc.tuple(fc.ipV4(), fc.ipV6()));

/** A reader written from the specification alone. */
function readHeader(header: Buffer) {
  const length = header.readUInt16BE(14);
  const family = header.readUInt8(13) >> 4;
  const size = { 0: 0, 1: 4, 2: 16 }[family] ?? -1;
  let at = 16;
  const take = (count: number): Buffer => {
    at += count;
    return header.subarray(at - count, at);
  };
  const ips = size === 0 ? [] : [take(size), take(size)].map((bytes) => bytes.toString('hex'));
  const ports = size === 0 ? [] : [take(4)].flatMap((bytes) => [bytes.readUInt16BE(0), bytes.readUInt16BE(2)]);
  const tlv = at < header.length ? { type: header[at], value: header.subarray(at + 3).toString() } : undefined;
  if (tlv) at += 3 + header.readUInt16BE(at + 1);
  return { isWhole: at === header.length && length + 16 === header.length, ips, ports, tlv };
}

test('any connection is announced as a reader of the specification finds it', (t) => {
  fc.assert(
    fc.property(
      pair,
      port,
      port,
      fc.option(fc.string({ maxLength: 300 }), { nil: undefined }),
      ([from, to], a, b, identity) => {
        const header = proxyHeader({ source: { ip: from, port: a }, destination: { ip: to, port: b }, identity });
        const { isWhole, ips, ports, tlv } = readHeader(header);
        t.true(isWhole);
        t.deepEqual(tlv, identity === undefined ? undefined : { type: 0xd0, value: identity });
        const [source, destination] = [parseIp(from), parseIp(to)];
        if (source?.family !== destination?.family) return t.deepEqual(ips, []);
        t.deepEqual(
          ips.map((hex) => BigInt(`0x${hex}`)),
          [source?.value, destination?.value],
        );
        t.deepEqual(ports, [a, b]);
      },
    ),
  );
});

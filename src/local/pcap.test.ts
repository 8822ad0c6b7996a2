import test from 'ava';
import fc from 'fast-check';
import { connectionKey, parsePcap } from './pcap.ts';

function capture(...frames: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt32LE(1, 20);
  const records = frames.map((frame) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(100, 0);
    record.writeUInt32LE(500_000, 4);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    return Buffer.concat([record, frame]);
  });
  return Buffer.concat([header, ...records]);
}

function tcp(payload: string): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(40_000, 0);
  header.writeUInt16BE(9080, 2);
  header[12] = 0x50;
  header[13] = 2;
  return Buffer.concat([header, Buffer.from(payload)]);
}

function ipv4(payload: Buffer): Buffer {
  const frame = Buffer.alloc(34);
  frame.writeUInt16BE(0x0800, 12);
  frame[14] = 0x45;
  frame.writeUInt16BE(20 + payload.length, 16);
  frame[23] = 6;
  frame.set([10, 244, 1, 2, 10, 244, 2, 2], 26);
  // short frames are padded on the wire
  return Buffer.concat([frame, payload, Buffer.alloc(4)]);
}

function ipv6(payload: Buffer): Buffer {
  const frame = Buffer.alloc(54);
  frame.writeUInt16BE(0x86dd, 12);
  frame.writeUInt16BE(payload.length, 18);
  frame[20] = 6;
  frame.set([0xfd, 0], 22);
  frame[37] = 1;
  frame.set([0xfd, 0], 38);
  frame[53] = 2;
  return Buffer.concat([frame, payload]);
}

test('TCP over both families is read, padding is not payload', (t) => {
  const [v4, v6] = parsePcap(capture(ipv4(tcp('GET /')), ipv6(tcp(''))));
  t.like(v4, { time: 100.5, sourceIp: '10.244.1.2', sourcePort: 40_000, destinationPort: 9080, syn: true });
  t.is(v4?.payload.toString(), 'GET /');
  t.like(v6, { sourceIp: 'fd00::1', destinationIp: 'fd00::2' });
});

test('a connection has one key, whichever way a packet goes', (t) => {
  const [packet] = parsePcap(capture(ipv4(tcp(''))));
  const { sourceIp, sourcePort, destinationIp, destinationPort, ...rest } = packet!; // one frame was written
  const answer = {
    ...rest,
    sourceIp: destinationIp,
    sourcePort: destinationPort,
    destinationIp: sourceIp,
    destinationPort: sourcePort,
  };
  t.is(connectionKey(answer), connectionKey(packet!));
});

test('any bytes are read or left out', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      parsePcap(Buffer.from(bytes));
      parsePcap(capture(Buffer.from(bytes), ipv4(Buffer.from(bytes)), ipv6(Buffer.from(bytes))));
    }),
  );
  t.pass();
});

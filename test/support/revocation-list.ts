/** Revocation lists that a test signs. Source: RFC 5280 section 5.1. */
import type { nameDer } from '../../src/pki/certificate-builder.ts';
import type { PrivateKey } from '../../src/pki/index.ts';

/** A list of the issuer, DER, long expired, that names these serial numbers. */
export function revocationList(
  { key, subject }: { readonly key: PrivateKey; readonly subject: ReturnType<typeof nameDer> },
  serials: readonly bigint[],
): Buffer {
  const entries = serials.map((serial) => element(0x30, element(0x02, unsigned(serial)), time('260101000000Z')));
  const algorithm = element(0x30, Buffer.from('06082a8648ce3d040302', 'hex')); // ecdsa-with-SHA256
  const body = element(
    0x30,
    element(0x02, Buffer.from([1])), // version 2
    algorithm,
    subject,
    time('260101000000Z'),
    time('260102000000Z'),
    element(0x30, ...entries),
  );
  return element(0x30, body, algorithm, element(0x03, Buffer.from([0]), key.sign(body)));
}

function unsigned(value: bigint): Buffer {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  return (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes;
}

function element(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length < 128 ? [content.length] : [0x82, content.length >> 8, content.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

const time = (text: string): Buffer => element(0x17, Buffer.from(text));

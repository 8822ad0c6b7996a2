/** The server name in the first bytes of a TLS connection. Source: RFC 8446 section 4.1.2, RFC 6066 section 3. */

export type ClientHello =
  | { readonly kind: 'INCOMPLETE' }
  /** Lower-case; undefined when the client names none, or the bytes are no ClientHello. */
  | { readonly kind: 'READ'; readonly serverName: string | undefined };

/** Larger ones are not read: the name then counts as absent. */
const MAX_BYTES = 16_384;
const NONE: ClientHello = { kind: 'READ', serverName: undefined };
const INCOMPLETE: ClientHello = { kind: 'INCOMPLETE' };

/** Total: any bytes give an answer. */
export function readClientHello(bytes: Buffer): ClientHello {
  const handshake = joinRecords(bytes);
  if (handshake === undefined) return NONE;
  if (handshake.length < 4) return bytes.length > MAX_BYTES ? NONE : INCOMPLETE;
  if (handshake[0] !== 1) return NONE;
  const length = handshake.readUIntBE(1, 3);
  if (length > MAX_BYTES) return NONE;
  if (handshake.length < 4 + length) return bytes.length > 2 * MAX_BYTES ? NONE : INCOMPLETE;
  try {
    return { kind: 'READ', serverName: findServerName(handshake.subarray(4, 4 + length)) };
  } catch {
    return NONE; // a length points outside
  }
}

/** Handshake bytes of the records so far; undefined when a record is of another type. */
function joinRecords(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = [];
  for (let at = 0; at + 5 <= bytes.length; ) {
    if (bytes[at] !== 0x16) return at === 0 ? undefined : Buffer.concat(parts);
    const end = at + 5 + bytes.readUInt16BE(at + 3);
    parts.push(bytes.subarray(at + 5, Math.min(end, bytes.length)));
    at = end;
  }
  return Buffer.concat(parts);
}

/** Throws a RangeError when a length points outside. */
function findServerName(hello: Buffer): string | undefined {
  let at = 2 + 32; // version, random
  at += 1 + hello.readUInt8(at); // session id
  at += 2 + hello.readUInt16BE(at); // cipher suites
  at += 1 + hello.readUInt8(at); // compression methods
  if (at >= hello.length) return undefined;
  const end = at + 2 + hello.readUInt16BE(at);
  at += 2;
  while (at + 4 <= end) {
    const type = hello.readUInt16BE(at);
    const length = hello.readUInt16BE(at + 2);
    at += 4;
    if (type === 0 && length >= 5 && hello.readUInt8(at + 2) === 0) {
      const size = hello.readUInt16BE(at + 3);
      if (at + 5 + size > hello.length) return undefined;
      return hello.toString('latin1', at + 5, at + 5 + size).toLowerCase();
    }
    at += length;
  }
  return undefined;
}

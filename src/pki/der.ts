/**
 * Reads DER. Strict and bounded: definite lengths, one-byte tags, nothing outside the given bytes, no recursion.
 * Source: X.690 sections 8 and 10.
 */
import { MeshError } from '../core/errors.ts';

/** One element: its tag byte, its content, and its whole encoding. Views on the given bytes, not copies. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly encoding: Uint8Array;
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Tag byte of a constructed context-specific element. */
export function contextTag(number: number): number {
  return 0xa0 | number;
}

/** Parses the one element that fills `bytes`. Throws ERR_MALFORMED. */
export function parseDer(bytes: Uint8Array): DerElement {
  const element = elementAt(bytes, 0);
  if (element.encoding.length !== bytes.length) throw malformed('bytes after the element');
  return element;
}

/** The elements inside a constructed one, in order. Throws ERR_MALFORMED. */
export function parseChildren(element: DerElement): DerElement[] {
  if ((element.tag & 0x20) === 0) throw malformed(`tag ${element.tag} has no elements inside`);
  const children: DerElement[] = [];
  for (let offset = 0; offset < element.content.length; ) {
    const child = elementAt(element.content, offset);
    children.push(child);
    offset += child.encoding.length;
  }
  return children;
}

/** `element` when it is there and has the tag. Throws ERR_MALFORMED naming `what` otherwise. */
export function expectTag(element: DerElement | undefined, tag: number, what: string): DerElement {
  if (element?.tag !== tag) throw malformed(`${what} is missing or has a wrong type`);
  return element;
}

/** Dotted text of an object identifier. Throws ERR_MALFORMED. */
export function parseOid(element: DerElement | undefined): string {
  const { content } = expectTag(element, TAG.oid, 'object identifier');
  if (content.length === 0 || content.length > 32) throw malformed('object identifier of a wrong length');
  const arcs: bigint[] = [];
  let arc = 0n;
  for (const byte of content) {
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    if (byte & 0x80) continue;
    arcs.push(arc);
    arc = 0n;
  }
  const [first = 0n, ...rest] = arcs;
  const root = first < 40n ? 0n : first < 80n ? 1n : 2n;
  return [root, first - root * 40n, ...rest].join('.');
}

/** An INTEGER that is not negative. Throws ERR_MALFORMED. */
export function parseUnsigned(element: DerElement | undefined): bigint {
  const { content } = expectTag(element, TAG.integer, 'integer');
  if (content.length === 0 || content.length > 64) throw malformed('integer of a wrong length');
  return BigInt(`0x${Buffer.from(content).toString('hex')}`);
}

/** Milliseconds since the epoch of a UTCTime or GeneralizedTime in the one form that DER allows. Throws ERR_MALFORMED. */
export function parseTime(element: DerElement | undefined): number {
  const text = Buffer.from(element?.content ?? []).toString('latin1');
  const isShort = element?.tag === TAG.utcTime;
  if (!isShort && element?.tag !== TAG.generalizedTime) throw malformed('time is missing or has a wrong type');
  const parts = /^(\d{2}|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (parts === null || parts[1]?.length !== (isShort ? 2 : 4)) throw malformed('time is not in DER form');
  const [year = 0, month = 0, day, hour, minute, second] = parts.slice(1).map(Number);
  const fullYear = isShort ? (year < 50 ? 2000 + year : 1900 + year) : year;
  return Date.UTC(fullYear, month - 1, day, hour, minute, second);
}

/** Bytes of a BIT STRING that fills whole bytes. Throws ERR_MALFORMED. */
export function parseBits(element: DerElement | undefined): Uint8Array {
  const { content } = expectTag(element, TAG.bitString, 'bit string');
  if (content[0] !== 0) throw malformed('bit string does not fill its bytes');
  return content.subarray(1);
}

function elementAt(bytes: Uint8Array, offset: number): DerElement {
  const tag = bytes[offset];
  const first = bytes[offset + 1];
  if (tag === undefined || first === undefined) throw malformed('truncated element');
  if ((tag & 0x1f) === 0x1f) throw malformed('tag of several bytes');
  let length = first;
  let start = offset + 2;
  if (first & 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > 4) throw malformed('length is indefinite or too large');
    length = 0;
    for (let i = 0; i < count; i += 1) length = length * 256 + (bytes[start + i] ?? Number.POSITIVE_INFINITY);
    start += count;
  }
  const end = start + length;
  if (end > bytes.length) throw malformed('element is longer than its bytes');
  return { tag, content: bytes.subarray(start, end), encoding: bytes.subarray(offset, end) };
}

function malformed(reason: string): MeshError {
  return new MeshError('ERR_MALFORMED', `invalid DER: ${reason}`);
}

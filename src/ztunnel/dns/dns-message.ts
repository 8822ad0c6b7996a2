/**
 * DNS messages: queries in, answers out.
 *
 * Guarantees: parsing looks at no more than the header, one question and the OPT record, follows no pointers and never
 * throws; an answer for UDP never exceeds what the client takes, and says so with TC when records are left out.
 * Source: RFC 1035 section 4, RFC 6891 (EDNS), RFC 2181 section 9 (TC).
 */
import { ipBytes } from '../../model/ip-bytes.ts';

export const TYPE_A = 1;
export const TYPE_CNAME = 5;
export const TYPE_AAAA = 28;
const TYPE_OPT = 41;
const CLASS_IN = 1;

export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4 } as const;

const QR = 0x8000;
const AA = 0x0400;
const TC = 0x0200;
const RD = 0x0100;
const RA = 0x0080;
const HEADER_BYTES = 12;
const NAME_BYTES_MAX = 255;
const UDP_BYTES_MIN = 512;
/** A UDP answer beyond this would be fragmented, whatever the client offers. */
const UDP_BYTES_MAX = 4_096;
const TCP_BYTES_MAX = 65_535;

export interface DnsQuery {
  readonly id: number;
  readonly opcode: number;
  readonly recursionDesired: boolean;
  /** Lower case, without a final dot. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** The question as sent, name in its own case. */
  readonly question: Buffer;
  /** Size of UDP answers the client takes; undefined without EDNS. */
  readonly edns: number | undefined;
}

export type ParsedQuery =
  | { readonly kind: 'query'; readonly query: DnsQuery }
  /** To be answered with this code. */
  | { readonly kind: 'refuse'; readonly id: number; readonly rcode: number }
  /** Too short to answer. */
  | { readonly kind: 'ignore' };

export interface DnsRecord {
  readonly name: string;
  readonly type: typeof TYPE_A | typeof TYPE_AAAA | typeof TYPE_CNAME;
  readonly ttl: number;
  /** An IP address, or the target of a CNAME. */
  readonly data: string;
}

export function parseQuery(message: Buffer): ParsedQuery {
  if (message.length < HEADER_BYTES) return { kind: 'ignore' };
  const id = message.readUInt16BE(0);
  const flags = message.readUInt16BE(2);
  const refuse = (rcode: number): ParsedQuery => ({ kind: 'refuse', id, rcode });
  if (flags & QR) return refuse(RCODE.FORMERR);
  const opcode = (flags >> 11) & 0xf;
  if (opcode !== 0) return refuse(RCODE.NOTIMP);
  if (message.readUInt16BE(4) !== 1) return refuse(RCODE.FORMERR);
  const name = readName(message, HEADER_BYTES);
  if (!name || name.end + 4 > message.length) return refuse(RCODE.FORMERR);
  const query: DnsQuery = {
    id,
    opcode,
    recursionDesired: (flags & RD) !== 0,
    name: name.text.toLowerCase(),
    type: message.readUInt16BE(name.end),
    class: message.readUInt16BE(name.end + 2),
    question: message.subarray(HEADER_BYTES, name.end + 4),
    edns: readEdns(message, name.end + 4),
  };
  return { kind: 'query', query };
}

/** An answer of our own: authoritative, recursion available. */
export function encodeAnswer(query: DnsQuery, records: readonly DnsRecord[], transport: 'udp' | 'tcp'): Buffer {
  const max = answerBytesMax(query, transport);
  const opt = query.edns === undefined ? Buffer.alloc(0) : optRecord(query.edns);
  const parts: Buffer[] = [query.question];
  let size = HEADER_BYTES + query.question.length + opt.length;
  let count = 0;
  for (const record of records) {
    const bytes = encodeRecord(record, query);
    if (size + bytes.length > max) break;
    parts.push(bytes);
    size += bytes.length;
    count += 1;
  }
  const flags = QR | AA | RA | (count < records.length ? TC : 0) | (query.recursionDesired ? RD : 0);
  const head = encodeHeader({ id: query.id, flags, answers: count, additionals: opt.length > 0 ? 1 : 0 });
  return Buffer.concat([head, ...parts, opt]);
}

/** An answer without records. */
export function encodeError(query: DnsQuery, rcode: number): Buffer {
  const flags = QR | RA | (query.recursionDesired ? RD : 0) | rcode;
  return Buffer.concat([encodeHeader({ id: query.id, flags, answers: 0, additionals: 0 }), query.question]);
}

/** An answer to something that could not be read. */
export function encodeRefusal(id: number, rcode: number): Buffer {
  const head = encodeHeader({ id, flags: QR | rcode, answers: 0, additionals: 0 });
  head.writeUInt16BE(0, 4);
  return head;
}

/** The query to send on, with an id of its own. */
export function encodeForward(message: Buffer, id: number): Buffer {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(id, 0);
  return copy;
}

export interface ForwardedAnswer {
  readonly rcode: number;
  readonly isTruncated: boolean;
}

/** Looks at a nameserver's answer; undefined when it does not belong to the query sent with `id`. */
export function readForwarded(message: Buffer, query: DnsQuery, id: number): ForwardedAnswer | undefined {
  if (message.length < HEADER_BYTES + query.question.length || message.length > TCP_BYTES_MAX) return undefined;
  const flags = message.readUInt16BE(2);
  if (message.readUInt16BE(0) !== id || !(flags & QR) || message.readUInt16BE(4) !== 1) return undefined;
  const question = message.subarray(HEADER_BYTES, HEADER_BYTES + query.question.length);
  if (question.toString('latin1').toLowerCase() !== query.question.toString('latin1').toLowerCase()) return undefined;
  return { rcode: flags & 0xf, isTruncated: (flags & TC) !== 0 };
}

/** A nameserver's answer for the client: its id, not authoritative, cut to what the client takes. */
export function encodeForwarded(message: Buffer, query: DnsQuery, transport: 'udp' | 'tcp'): Buffer {
  const fits = message.length <= answerBytesMax(query, transport);
  const copy = Buffer.from(fits ? message : message.subarray(0, HEADER_BYTES + query.question.length));
  copy.writeUInt16BE(query.id, 0);
  copy.writeUInt16BE((message.readUInt16BE(2) & ~AA) | (fits ? 0 : TC), 2);
  if (!fits) copy.fill(0, 6, HEADER_BYTES);
  return copy;
}

function answerBytesMax(query: DnsQuery, transport: 'udp' | 'tcp'): number {
  if (transport === 'tcp') return TCP_BYTES_MAX;
  return Math.min(UDP_BYTES_MAX, Math.max(UDP_BYTES_MIN, query.edns ?? 0));
}

function encodeHeader({
  id,
  flags,
  answers,
  additionals,
}: {
  readonly id: number;
  readonly flags: number;
  readonly answers: number;
  readonly additionals: number;
}): Buffer {
  const head = Buffer.alloc(HEADER_BYTES);
  for (const [index, value] of [id, flags, 1, answers, 0, additionals].entries()) head.writeUInt16BE(value, index * 2);
  return head;
}

function encodeRecord({ name, type, ttl, data }: DnsRecord, query: DnsQuery): Buffer {
  const owner = name === query.name ? Buffer.from([0xc0, HEADER_BYTES]) : encodeName(name);
  const value = type === TYPE_CNAME ? encodeName(data) : (ipBytes(data) ?? Buffer.alloc(0));
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(type, 0);
  fixed.writeUInt16BE(CLASS_IN, 2);
  fixed.writeUInt32BE(ttl, 4);
  fixed.writeUInt16BE(value.length, 8);
  return Buffer.concat([owner, fixed, value]);
}

function encodeName(name: string): Buffer {
  const labels = name.split('.').filter((label) => label !== '');
  return Buffer.concat([
    ...labels.map((label) =>
      Buffer.concat([Buffer.from([Buffer.byteLength(label, 'latin1')]), Buffer.from(label, 'latin1')]),
    ),
    Buffer.from([0]),
  ]);
}

/** Labels as they are; a dot inside a label makes the name unreadable. */
function readName(message: Buffer, start: number): { readonly text: string; readonly end: number } | undefined {
  const labels: string[] = [];
  let at = start;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > 63 || at - start > NAME_BYTES_MAX) return undefined;
    at += 1;
    if (length === 0) break;
    const label = message.subarray(at, at + length).toString('latin1');
    if (label.length < length || label.includes('.')) return undefined;
    labels.push(label);
    at += length;
  }
  return at - start > NAME_BYTES_MAX ? undefined : { text: labels.join('.'), end: at };
}

/** The OPT record directly behind the question, where every stub resolver puts it. */
function readEdns(message: Buffer, at: number): number | undefined {
  const hasOnlyAdditionals = message.readUInt16BE(6) === 0 && message.readUInt16BE(8) === 0;
  if (!hasOnlyAdditionals || message.readUInt16BE(10) === 0 || at + 11 > message.length) return undefined;
  if (message[at] !== 0 || message.readUInt16BE(at + 1) !== TYPE_OPT) return undefined;
  return message.readUInt16BE(at + 3);
}

function optRecord(payloadBytes: number): Buffer {
  const record = Buffer.alloc(11);
  record.writeUInt16BE(TYPE_OPT, 1);
  record.writeUInt16BE(Math.max(UDP_BYTES_MIN, payloadBytes), 3);
  return record;
}

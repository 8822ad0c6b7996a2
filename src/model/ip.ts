/**
 * IP addresses and ranges as numbers, for matching.
 *
 * Guarantees
 *  - `parseIp` accepts exactly the textual forms of RFC 4291 section 2.2 and dotted IPv4, without zone; anything else is undefined.
 *  - IPv4-mapped IPv6 addresses become IPv4 everywhere.
 *  - A range never contains an address of the other family; host bits of a range are ignored.
 */
import type { IpPort, IpRange } from './address.ts';

export interface ParsedIp {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** A range ready for matching; made once by `compileRange`. */
export interface CompiledRange {
  readonly family: 4 | 6;
  readonly shift: bigint;
  readonly base: bigint;
}

const MAPPED_PREFIX = 0xffffn;

function parseIpv4(text: string): bigint | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let value = 0n;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part)) return undefined;
    const octet = Number(part);
    if (octet > 255) return undefined;
    value = (value << 8n) | BigInt(octet);
  }
  return value;
}

function parseGroups(text: string): bigint[] | undefined {
  if (text === '') return [];
  const groups: bigint[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (part.includes('.')) {
      const tail = index === parts.length - 1 ? parseIpv4(part) : undefined;
      if (tail === undefined) return undefined;
      groups.push(tail >> 16n, tail & 0xffffn);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      groups.push(BigInt(`0x${part}`));
    }
  }
  return groups;
}

function parseIpv6(text: string): bigint | undefined {
  if (text.length > 45) return undefined;
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? '');
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? '') : [];
  if (!head || !tail) return undefined;
  if (halves.length === 2 && (halves[0] ?? '').includes('.')) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  return [...head, ...new Array<bigint>(missing).fill(0n), ...tail].reduce((all, group) => (all << 16n) | group, 0n);
}

/** Parses an IP address; undefined when `text` is none. */
export function parseIp(text: string): ParsedIp | undefined {
  if (!text.includes(':')) {
    const value = parseIpv4(text);
    return value === undefined ? undefined : { family: 4, value };
  }
  const value = parseIpv6(text);
  if (value === undefined) return undefined;
  if (value >> 32n === MAPPED_PREFIX) return { family: 4, value: value & 0xffff_ffffn };
  return { family: 6, value };
}

/** Canonical text: dotted IPv4, or IPv6 by RFC 5952. */
export function formatIp({ family, value }: ParsedIp): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 0xffn)).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => Number((value >> BigInt(112 - index * 16)) & 0xffffn));
  let start = -1;
  let length = 1; // a single zero group is not shortened
  for (let from = 0; from < 8; from++) {
    let to = from;
    while (to < 8 && groups[to] === 0) to++;
    if (to - from > length) {
      start = from;
      length = to - from;
    }
  }
  const hex = groups.map((group) => group.toString(16));
  if (start < 0) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}

/** Canonical form of an address in any textual form; undefined when `text` is no address. */
export function canonicalIp(text: string): string | undefined {
  const parsed = parseIp(text);
  return parsed && formatIp(parsed);
}

/** The family of a canonical address. */
export function ipFamily(ip: string): 4 | 6 {
  return ip.includes(':') ? 6 : 4;
}

/** Whether connections to `ip` stay on the machine: 127.0.0.0/8 and ::1. */
export function isLoopback(ip: string): boolean {
  return ip === '::1' || ip.startsWith('127.');
}

/** `10.0.0.1:80`, `[fd00::1]:80`. */
export function formatIpPort({ ip, port }: IpPort): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** Parses `10.0.0.1:80` or `[fd00::1]:80`; the port has 1 to 5 digits. */
export function parseIpPort(text: string): IpPort | undefined {
  const found = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([0-9.]{7,15})):(\d{1,5})$/.exec(text);
  if (!found) return undefined;
  const bracketed = found[1];
  const host = bracketed ?? found[2] ?? '';
  if ((bracketed === undefined) === host.includes(':')) return undefined;
  const ip = canonicalIp(host);
  const port = Number(found[3]);
  return ip === undefined || port > 65_535 ? undefined : { ip, port };
}

/** Undefined when the address is no address or the length exceeds its family's maximum. */
export function compileRange({ ip, prefixLength }: IpRange): CompiledRange | undefined {
  const parsed = parseIp(ip);
  if (!parsed) return undefined;
  const bits = parsed.family === 4 ? 32 : 128;
  if (!Number.isInteger(prefixLength) || prefixLength < 0 || prefixLength > bits) return undefined;
  const shift = BigInt(bits - prefixLength);
  return { family: parsed.family, shift, base: parsed.value >> shift };
}

export function rangeContains(range: CompiledRange, ip: ParsedIp): boolean {
  return range.family === ip.family && ip.value >> range.shift === range.base;
}

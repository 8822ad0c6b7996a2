/** IP addresses between network order bytes and canonical text. An IPv4-mapped IPv6 address is the IPv4 address. */
import { formatIp, type ParsedIp, parseIp } from './ip.ts';

const MAPPED_PREFIX = 0xffffn;

/** Canonical text of 4 or 16 bytes; undefined for any other length. */
export function ipText(bytes: Uint8Array): string | undefined {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) return undefined;
  const value = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  if (value >> 32n === MAPPED_PREFIX) return bytes.subarray(12).join('.');
  return formatIp({ family: 6, value });
}

/** 4 or 16 bytes of an address; undefined when the text is not one. Zones (`%eth0`) are refused. */
export function ipBytes(text: string): Uint8Array | undefined {
  const ip = parseIp(text);
  return ip && bytesOf(ip);
}

function bytesOf({ family, value }: ParsedIp): Uint8Array {
  return Buffer.from(value.toString(16).padStart(family === 4 ? 8 : 32, '0'), 'hex');
}

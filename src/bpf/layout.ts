/**
 * Map keys and values of the capture programs as bytes, in the layout of native/bpf/capture.h. Pure. Addresses are 16
 * bytes in network order, IPv4 in its v4-mapped form; all other integers are little endian, as every supported machine.
 */
import { isIP } from 'node:net';
import { MeshError } from '../core/errors.ts';

/** pod_config.flags. */
export const POD_FLAGS = { active: 1, dns: 2, ingressBypass: 4, ipv6: 8, exclusions: 16 } as const;

/** In the order of `enum counter`. */
export const COUNTER_NAMES = [
  'outboundCaptured',
  'outboundRefused',
  'dnsCaptured',
  'inboundCaptured',
  'inboundTunnel',
  'inboundProbe',
  'inboundRefused',
  'bindRefused',
  'originLost',
  'listenerLost',
] as const;
export type CounterName = (typeof COUNTER_NAMES)[number];

export const ADDRESS_BYTES = 16;
export const POD_CONFIG_BYTES = 24;
export const EVENT_BYTES = 32;

export interface PodConfig {
  readonly flags: number;
  /** Where outbound connections of that family are sent; undefined when the pod has no such address. */
  readonly ip4: string | undefined;
  readonly ip6: string | undefined;
}

/** A refusal that a program reports. */
export interface CaptureEvent {
  readonly netnsCookie: bigint;
  readonly ip: string;
  readonly port: number;
  readonly reason: CounterName;
  /** IP protocol number. */
  readonly protocol: number;
}

/** Netns cookie or cgroup id as a map key. */
export function cookieKey(cookie: bigint): Buffer {
  const key = Buffer.alloc(8);
  key.writeBigUInt64LE(cookie);
  return key;
}

/** A __u32. */
export function u32Value(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** capture_address of an IP in any text form. Throws ERR_MALFORMED. */
export function addressKey(ip: string): Buffer {
  const family = isIP(ip);
  if (family === 0 || ip.includes('%')) throw new MeshError('ERR_MALFORMED', `not an IP address: ${ip}`);
  return family === 4 ? mapped(ip) : ip6Bytes(ip);
}

/** The IP of a capture_address, canonical text. */
export function readAddress(bytes: Buffer): string {
  const isMapped = bytes.subarray(0, 12).equals(MAPPED_PREFIX);
  if (isMapped) return [...bytes.subarray(12, 16)].join('.');
  const words = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  return new URL(`http://[${words.join(':')}]`).hostname.slice(1, -1);
}

/** struct pod_config. */
export function podConfigValue({ flags, ip4, ip6 }: PodConfig): Buffer {
  const value = Buffer.alloc(POD_CONFIG_BYTES);
  value.writeUInt32LE(flags, 0);
  if (ip4 !== undefined) addressKey(ip4).copy(value, 4, 12);
  if (ip6 !== undefined) addressKey(ip6).copy(value, 8);
  return value;
}

/** struct excluded_port. */
export function excludedPortKey(cookie: bigint, port: number, direction: 'inbound' | 'outbound'): Buffer {
  const key = Buffer.alloc(16);
  key.writeBigUInt64LE(cookie);
  key.writeUInt32LE(port, 8);
  key.writeUInt32LE(direction === 'inbound' ? 1 : 0, 12);
  return key;
}

/** struct excluded_range. Throws ERR_MALFORMED. */
export function excludedRangeKey(cookie: bigint, { ip, prefixLength }: { ip: string; prefixLength: number }): Buffer {
  const key = Buffer.alloc(28);
  key.writeUInt32LE(64 + prefixLength + (isIP(ip) === 4 ? 96 : 0));
  key.writeBigUInt64LE(cookie, 4);
  addressKey(ip).copy(key, 12);
  return key;
}

/** Whose exclusion a key of one of the two maps is. */
export function cookieOfExclusion(key: Buffer): bigint {
  return key.readBigUInt64LE(key.length === 16 ? 0 : 4);
}

/** `flags` of a struct pod_config. */
export function readPodFlags(value: Buffer): number {
  return value.readUInt32LE(0);
}

/** struct capture_event. Throws ERR_MALFORMED for another size or an unknown reason. */
export function readEvent(record: Buffer): CaptureEvent {
  const reason = record.length === EVENT_BYTES ? COUNTER_NAMES[record.readUInt8(26)] : undefined;
  if (reason === undefined) throw new MeshError('ERR_MALFORMED', `not a capture event: ${record.length} bytes`);
  return {
    netnsCookie: record.readBigUInt64LE(0),
    ip: readAddress(record.subarray(8, 24)),
    port: record.readUInt16BE(24),
    reason,
    protocol: record.readUInt8(27),
  };
}

const MAPPED_PREFIX = Buffer.from('00000000000000000000ffff', 'hex');

function mapped(ip4: string): Buffer {
  return Buffer.concat([MAPPED_PREFIX, Buffer.from(ip4.split('.').map(Number))]);
}

/** URL writes an address in its shortest form, in which at most one run of zeroes is left out. */
function ip6Bytes(ip: string): Buffer {
  const canonical = new URL(`http://[${ip}]`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups = [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after];
  const bytes = Buffer.alloc(ADDRESS_BYTES);
  for (const [index, group] of groups.entries()) bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2);
  return bytes;
}

/**
 * PROXY protocol version 2 header towards an application tunnel.
 * Source: HAProxy PROXY protocol specification section 2.2; TLV 0xD0 carries the client's SPIFFE id.
 */
import type { IpPort } from '../model/address.ts';
import { parseIp } from '../model/ip.ts';

const SIGNATURE = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);
const VERSION_2_PROXY = 0x21;
const STREAM = 0x01;
const TLV_IDENTITY = 0xd0;

export interface ProxiedConnection {
  readonly source: IpPort;
  readonly destination: IpPort;
  /** SPIFFE id of the client; absent when it has none. */
  readonly identity: string | undefined;
}

/** Addresses of different families are announced as AF_UNSPEC, without addresses. */
export function proxyHeader({ source, destination, identity }: ProxiedConnection): Buffer {
  const from = parseIp(source.ip);
  const to = parseIp(destination.ip);
  const known = from && to && from.family === to.family;
  const addresses = known
    ? Buffer.concat([
        bytesOf(from.value, from.family),
        bytesOf(to.value, to.family),
        ports(source.port, destination.port),
      ])
    : Buffer.alloc(0);
  const family = known ? (from.family === 4 ? 0x10 : 0x20) | STREAM : 0x00;
  const tlv = identity === undefined ? Buffer.alloc(0) : identityTlv(identity);
  const head = Buffer.from([VERSION_2_PROXY, family | STREAM, 0, 0]);
  head.writeUInt16BE(addresses.length + tlv.length, 2);
  return Buffer.concat([SIGNATURE, head, addresses, tlv]);
}

function bytesOf(value: bigint, family: 4 | 6): Buffer {
  const length = family === 4 ? 4 : 16;
  return Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex');
}

function ports(source: number, destination: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt16BE(source, 0);
  buffer.writeUInt16BE(destination, 2);
  return buffer;
}

function identityTlv(identity: string): Buffer {
  const value = Buffer.from(identity);
  const head = Buffer.from([TLV_IDENTITY, 0, 0]);
  head.writeUInt16BE(value.length, 1);
  return Buffer.concat([head, value]);
}

/**
 * TCP packets of a capture file. Total: whatever is not TCP over IP, or is cut short, is left out.
 * Source: the libpcap file format (microsecond variant); RFC 791, 8200 and 9293 for the headers.
 */

export interface TcpPacket {
  /** Seconds since the epoch. */
  readonly time: number;
  readonly sourceIp: string;
  readonly sourcePort: number;
  readonly destinationIp: string;
  readonly destinationPort: number;
  readonly syn: boolean;
  readonly reset: boolean;
  readonly payload: Buffer;
}

const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const LITTLE_ENDIAN_MAGIC = 0xa1b2c3d4;
/** Bytes of the link's header, whose last two name the protocol: Ethernet, and what `tcpdump -i any -y LINUX_SLL` writes. */
const LINK_BYTES: ReadonlyMap<number, number> = new Map([
  [1, 14],
  [113, 16],
]);
const IPV4_TYPE = 0x0800;
const IPV6_TYPE = 0x86dd;
const IPV6_BYTES = 40;
const TCP = 6;

/** All TCP packets in the order of the file; none when it is no capture, or one of another kind of link. */
export function parsePcap(file: Buffer): readonly TcpPacket[] {
  if (file.length < FILE_HEADER_BYTES || file.readUInt32LE(0) !== LITTLE_ENDIAN_MAGIC) return [];
  const linkBytes = LINK_BYTES.get(file.readUInt32LE(20));
  if (linkBytes === undefined) return [];
  const packets: TcpPacket[] = [];
  for (let at = FILE_HEADER_BYTES; at + RECORD_HEADER_BYTES <= file.length; ) {
    const time = file.readUInt32LE(at) + file.readUInt32LE(at + 4) / 1e6;
    const end = at + RECORD_HEADER_BYTES + file.readUInt32LE(at + 8);
    if (end > file.length) break;
    const packet = parseFrame(file.subarray(at + RECORD_HEADER_BYTES, end), linkBytes, time);
    if (packet) packets.push(packet);
    at = end;
  }
  return packets;
}

/** Names a connection whichever way a packet of it goes. */
export function connectionKey({ sourceIp, sourcePort, destinationIp, destinationPort }: TcpPacket): string {
  return [`[${sourceIp}]:${sourcePort}`, `[${destinationIp}]:${destinationPort}`].sort().join(' ');
}

function parseFrame(frame: Buffer, linkBytes: number, time: number): TcpPacket | undefined {
  if (frame.length < linkBytes) return undefined;
  const type = frame.readUInt16BE(linkBytes - 2);
  const ip = frame.subarray(linkBytes);
  if (type === IPV4_TYPE) return parseIpv4(ip, time);
  return type === IPV6_TYPE ? parseIpv6(ip, time) : undefined;
}

function parseIpv4(ip: Buffer, time: number): TcpPacket | undefined {
  if (ip.length < 20 || ip[9] !== TCP) return undefined;
  const headerBytes = ((ip[0] ?? 0) & 15) * 4;
  const sourceIp = ip.subarray(12, 16).join('.');
  const destinationIp = ip.subarray(16, 20).join('.');
  return parseTcp(ip.subarray(headerBytes, ip.readUInt16BE(2)), { time, sourceIp, destinationIp });
}

function parseIpv6(ip: Buffer, time: number): TcpPacket | undefined {
  if (ip.length < IPV6_BYTES || ip[6] !== TCP) return undefined;
  const sourceIp = ipv6Text(ip.subarray(8, 24));
  const destinationIp = ipv6Text(ip.subarray(24, 40));
  return parseTcp(ip.subarray(IPV6_BYTES, IPV6_BYTES + ip.readUInt16BE(4)), { time, sourceIp, destinationIp });
}

function parseTcp(tcp: Buffer, rest: Pick<TcpPacket, 'time' | 'sourceIp' | 'destinationIp'>): TcpPacket | undefined {
  if (tcp.length < 20) return undefined;
  const flags = tcp[13] ?? 0;
  return {
    ...rest,
    sourcePort: tcp.readUInt16BE(0),
    destinationPort: tcp.readUInt16BE(2),
    syn: (flags & 2) !== 0,
    reset: (flags & 4) !== 0,
    payload: tcp.subarray(((tcp[12] ?? 0) >> 4) * 4),
  };
}

/** Canonical text (RFC 5952): the URL parser writes it so. */
function ipv6Text(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16));
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1);
}

/** The PROXY protocol header, versions 1 and 2. Source: HAProxy, "The PROXY protocol" sections 2.1 and 2.2. */
import { ipBytes } from '../../model/ip-bytes.ts';

export interface ProxiedConnection {
  readonly sourceIp: string;
  readonly sourcePort: number;
  readonly destinationIp: string;
  readonly destinationPort: number;
}

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');

/** Undefined or mixed families: the connection is the proxy's own. */
export function proxyHeader(version: 'V1' | 'V2', connection: ProxiedConnection | undefined): Buffer {
  const known = connection && isV6(connection.sourceIp) === isV6(connection.destinationIp) ? connection : undefined;
  return version === 'V1' ? headerV1(known) : headerV2(known);
}

function headerV1(connection: ProxiedConnection | undefined): Buffer {
  if (!connection) return Buffer.from('PROXY UNKNOWN\r\n');
  const { sourceIp, destinationIp, sourcePort, destinationPort } = connection;
  const family = isV6(sourceIp) ? 'TCP6' : 'TCP4';
  return Buffer.from(`PROXY ${family} ${sourceIp} ${destinationIp} ${sourcePort} ${destinationPort}\r\n`);
}

function headerV2(connection: ProxiedConnection | undefined): Buffer {
  if (!connection) return Buffer.concat([SIGNATURE, Buffer.from([0x20, 0x00, 0, 0])]);
  const { sourceIp, destinationIp, sourcePort, destinationPort } = connection;
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(sourcePort, 0);
  ports.writeUInt16BE(destinationPort, 2);
  const [source, destination] = [ipBytes(sourceIp), ipBytes(destinationIp)];
  if (!source || !destination) return headerV2(undefined);
  const addresses = Buffer.concat([source, destination, ports]);
  const head = Buffer.from([0x21, isV6(sourceIp) ? 0x21 : 0x11, 0, 0]);
  head.writeUInt16BE(addresses.length, 2);
  return Buffer.concat([SIGNATURE, head, addresses]);
}

function isV6(ip: string): boolean {
  return ip.includes(':');
}

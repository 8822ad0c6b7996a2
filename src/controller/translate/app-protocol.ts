/** Application protocol of a service port. Source: Istio control plane (appProtocol, then the port name's first part). */
import type { AppProtocol } from '../../model/service.ts';

const BY_NAME: Readonly<Record<string, AppProtocol>> = {
  http: 'HTTP11',
  http2: 'HTTP2',
  'kubernetes.io/h2c': 'HTTP2',
  grpc: 'GRPC',
  https: 'TLS',
  tls: 'TLS',
  'kubernetes.io/wss': 'TLS',
  'kubernetes.io/ws': 'HTTP11',
  tcp: 'TCP',
};
/** Known, but without a value of their own on the wire. */
const UNMAPPED: ReadonlySet<string> = new Set(['grpc-web', 'mongo', 'redis', 'mysql', 'udp']);
/** Ports where the server speaks first. */
const SERVER_FIRST: ReadonlySet<number> = new Set([25, 53, 3306, 27017]);

export interface PortDescription {
  readonly name?: string | undefined;
  readonly port: number;
  readonly protocol?: string | undefined;
  readonly appProtocol?: string | undefined;
}

export function appProtocolOf({ name = '', port, protocol = 'TCP', appProtocol }: PortDescription): AppProtocol {
  if (protocol === 'UDP') return 'UNKNOWN';
  const named = (appProtocol ?? name).toLowerCase();
  if (named === 'grpc-web' || named.startsWith('grpc-web-')) return 'UNKNOWN';
  const word = appProtocol === undefined ? (named.split('-')[0] ?? '') : named;
  const known = Object.hasOwn(BY_NAME, word) ? BY_NAME[word] : undefined;
  if (known) return known;
  return !UNMAPPED.has(word) && SERVER_FIRST.has(port) ? 'TCP' : 'UNKNOWN';
}

/** For ServiceEntry, whose ports name their protocol. */
export function entryProtocolOf({ name, port, protocol = '' }: PortDescription): AppProtocol {
  const word = protocol.toLowerCase();
  const known = Object.hasOwn(BY_NAME, word) ? BY_NAME[word] : undefined;
  return known ?? (word === '' ? appProtocolOf({ name, port }) : 'UNKNOWN');
}

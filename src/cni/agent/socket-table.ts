/**
 * TCP sockets of a pod's namespace, and which of its connections go in clear past the tunnel: those that were open
 * before the pod joined.
 * Source: ss(8).
 */
import type { Netns } from 'culvert-netns';
import type { IpPort } from '../../model/address.ts';
import { canonicalIp, ipFamily } from '../../model/ip.ts';
import {
  INBOUND_HBONE_PORT,
  INBOUND_PLAINTEXT_PORT,
  MARK_MASK,
  OUTBOUND_PORT,
  SOURCE_PRESERVING_MARK,
  TUNNEL_MARK,
} from '../../model/ports.ts';
import { mustRun, PROBE_SOURCE, type RunCommand } from '../redirect/index.ts';

export interface TcpSocket {
  readonly state: string;
  readonly local: IpPort;
  /** Port 0 for a listener. */
  readonly remote: IpPort;
  readonly mark: number;
}

/** A connection that the tunnel does not carry. */
export interface ClearConnection {
  readonly direction: 'inbound' | 'outbound';
  readonly local: IpPort;
  readonly remote: IpPort;
}

const TUNNEL_PORTS: ReadonlySet<number> = new Set([OUTBOUND_PORT, INBOUND_PLAINTEXT_PORT, INBOUND_HBONE_PORT]);
const CARRYING: ReadonlySet<string> = new Set(['ESTAB', 'FIN-WAIT-1', 'FIN-WAIT-2', 'CLOSE-WAIT']);
const SS = 'ss';
/** Longest list of connections named in one call of ss. */
const KILLS_PER_CALL = 100;

/** Every TCP socket in the namespace. Rejects with ERR_REDIRECT or ERR_UNSUPPORTED. */
export async function listSockets(run: RunCommand, netns: Netns): Promise<readonly TcpSocket[]> {
  return parseSockets(await mustRun(run, netns, [SS, '--tcp', '--all', '-nHOe']));
}

/** Lines of `ss -tanHOe`. Total: what is not understood is left out. */
export function parseSockets(text: string): readonly TcpSocket[] {
  return text.split('\n').flatMap((line) => {
    const [state = '', , , localText = '', remoteText = '', ...details] = line.trim().split(/\s+/);
    const local = parseEndpoint(localText);
    const remote = parseEndpoint(remoteText);
    if (!local || !remote) return [];
    const mark = details.find((detail) => detail.startsWith('fwmark:'))?.slice('fwmark:'.length);
    return [{ state, local, remote, mark: Number(mark ?? 0) || 0 }];
  });
}

/** `10.0.0.1:80`, `[::1%lo]:80`, `*:80`, `0.0.0.0:*`. */
function parseEndpoint(text: string): IpPort | undefined {
  const colon = text.lastIndexOf(':');
  if (colon < 0) return undefined;
  const host = text
    .slice(0, colon)
    .replace(/^\[|\]$/g, '')
    .replace(/%.*$/, '');
  const ip = host === '*' ? '::' : canonicalIp(host);
  const port = text.slice(colon + 1) === '*' ? 0 : Number(text.slice(colon + 1));
  return ip === undefined || !Number.isInteger(port) || port < 0 || port > 65_535 ? undefined : { ip, port };
}

/** Open connections between the pod and others that do not go through the tunnel. */
export function clearConnections(sockets: readonly TcpSocket[], own: readonly string[]): readonly ClearConnection[] {
  const ownIps = new Set(own);
  const listening = new Set(sockets.filter(({ state }) => state === 'LISTEN').map(({ local }) => local.port));
  // The tunnel's end of a captured connection names the application's end.
  const captured = new Set(
    sockets.filter(({ local }) => local.port === OUTBOUND_PORT).map(({ remote }) => name(remote)),
  );
  return sockets
    .filter(({ state, local, remote }) => CARRYING.has(state) && ownIps.has(local.ip) && !ownIps.has(remote.ip))
    .filter(({ remote }) => remote.ip !== PROBE_SOURCE[ipFamily(remote.ip)]) // probes are in clear on purpose
    .filter((socket) => !isTunnels(socket) && !captured.has(name(socket.local)))
    .map(({ local, remote }) => ({ direction: listening.has(local.port) ? 'inbound' : 'outbound', local, remote }));
}

/** Connections that the tunnel carries for the pod, or its ends of them. */
export function tunnelConnections(sockets: readonly TcpSocket[]): number {
  return sockets.filter((socket) => CARRYING.has(socket.state) && isTunnels(socket)).length;
}

/** An application's socket that the tunnel opened a connection to has the mark as well. */
function isTunnels({ local, mark }: TcpSocket): boolean {
  const masked = mark & MARK_MASK;
  return masked === TUNNEL_MARK || masked === SOURCE_PRESERVING_MARK || TUNNEL_PORTS.has(local.port);
}

/** Ends connections at once: both peers get a reset. Those that have ended meanwhile are no error. */
export async function cutConnections(
  run: RunCommand,
  netns: Netns,
  connections: readonly ClearConnection[],
): Promise<void> {
  for (let start = 0; start < connections.length; start += KILLS_PER_CALL) {
    const filters = connections
      .slice(start, start + KILLS_PER_CALL)
      .map(({ local, remote }) => `( src ${ssAddress(local)} and dst ${ssAddress(remote)} )`);
    await mustRun(run, netns, [SS, '--kill', '--tcp', '-nH', filters.join(' or ')]);
  }
}

function ssAddress({ ip, port }: IpPort): string {
  return `${ip.includes(':') ? `[${ip}]` : ip}:${port}`;
}

function name({ ip, port }: IpPort): string {
  return `${ip} ${port}`;
}

/**
 * Which of a pod's TCP sockets are connections in clear, past the tunnel: those that were open before the pod joined.
 */
import type { TcpSocket, TcpState } from 'culvert-netns';
import type { IpPort } from '../../model/address.ts';
import { ipFamily } from '../../model/ip.ts';
import {
  INBOUND_HBONE_PORT,
  INBOUND_PLAINTEXT_PORT,
  MARK_MASK,
  OUTBOUND_PORT,
  SOURCE_PRESERVING_MARK,
  TUNNEL_MARK,
} from '../../model/ports.ts';
import { PROBE_SOURCE } from '../redirect/index.ts';

/** A connection that the tunnel does not carry. */
export interface ClearConnection {
  readonly direction: 'inbound' | 'outbound';
  readonly local: IpPort;
  readonly remote: IpPort;
  /** The pod's end of it. */
  readonly socket: PodSocket;
}

/** What is looked at of a socket in the pod's namespace. */
export type PodSocket = Pick<TcpSocket, 'state' | 'local' | 'remote' | 'mark' | 'id'>;

const TUNNEL_PORTS: ReadonlySet<number> = new Set([OUTBOUND_PORT, INBOUND_PLAINTEXT_PORT, INBOUND_HBONE_PORT]);
const CARRYING: ReadonlySet<TcpState> = new Set(['ESTABLISHED', 'FIN_WAIT1', 'FIN_WAIT2', 'CLOSE_WAIT']);

/** Open connections between the pod and others that do not go through the tunnel. */
export function clearConnections(sockets: readonly PodSocket[], own: readonly string[]): readonly ClearConnection[] {
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
    .map((socket) => {
      const { local, remote } = socket;
      return { direction: listening.has(local.port) ? 'inbound' : 'outbound', local, remote, socket };
    });
}

/** Connections that the tunnel carries for the pod, or its ends of them. */
export function tunnelConnections(sockets: readonly PodSocket[]): number {
  return sockets.filter((socket) => CARRYING.has(socket.state) && isTunnels(socket)).length;
}

/** An application's socket that the tunnel opened a connection to has the mark as well. */
function isTunnels({ local, mark }: PodSocket): boolean {
  const masked = mark & MARK_MASK;
  return masked === TUNNEL_MARK || masked === SOURCE_PRESERVING_MARK || TUNNEL_PORTS.has(local.port);
}

function name({ ip, port }: IpPort): string {
  return `${ip} ${port}`;
}

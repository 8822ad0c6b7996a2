/**
 * The TCP sockets of a namespace, asked of the kernel directly; no `ss` program is run.
 * Source: sock_diag(7), linux/tcp_states.h.
 */
import type { IpPort } from './address.ts';
import { checked, checkedValue } from './errors.ts';
import { native } from './native.ts';
import { type Netns, netnsFd } from './netns.ts';

/** By the kernel's number, which starts at 1. */
const STATES = [
  'ESTABLISHED',
  'SYN_SENT',
  'SYN_RECV',
  'FIN_WAIT1',
  'FIN_WAIT2',
  'TIME_WAIT',
  'CLOSE',
  'CLOSE_WAIT',
  'LAST_ACK',
  'LISTEN',
  'CLOSING',
  'NEW_SYN_RECV',
] as const;

export type TcpState = (typeof STATES)[number];

export interface TcpSocket {
  readonly state: TcpState;
  readonly local: IpPort;
  /** Port 0 for a listener. */
  readonly remote: IpPort;
  /** SO_MARK. */
  readonly mark: number;
  /** Names this one socket, also after others have got its addresses. */
  readonly id: Uint8Array;
}

/** Every TCP socket in the namespace, mapped addresses as IPv4. Throws ENOBUFS when there are more than 262,144. */
export function listTcpSockets(netns: Netns | undefined): readonly TcpSocket[] {
  const sockets = checkedValue(native.tcpSockets(netnsFd(netns)), 'list the TCP sockets of a namespace');
  return sockets.map(([state, localIp, localPort, remoteIp, remotePort, mark, id]) => ({
    state: STATES[state - 1] ?? 'CLOSE',
    local: { ip: localIp, port: localPort },
    remote: { ip: remoteIp, port: remotePort },
    mark,
    id,
  }));
}

/** Ends a connection at once: both ends see a reset. One that has ended meanwhile is no error. */
export function destroyTcpSocket(netns: Netns | undefined, { id }: Pick<TcpSocket, 'id'>): void {
  checked(native.destroyTcpSocket(netnsFd(netns), id), 'end a TCP connection');
}

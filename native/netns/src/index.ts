/**
 * Sockets inside a network namespace by its descriptor, socket options, descriptor passing over unix sockets and
 * rtnetlink. Linux only. Everything that returns a descriptor gives it away; what owns one is Disposable.
 */
export type { IpPort } from './address.ts';
export { NetnsError, type NetnsSyscall } from './errors.ts';
export { createNetns, Netns, removeNetns } from './netns.ts';
export {
  addRule,
  deleteLocalRoute,
  deleteRule,
  type LocalRouteSpec,
  localAddresses,
  type RuleSpec,
  replaceLocalRoute,
} from './route.ts';
export { type PeerCredentials, SEQPACKET_BYTES_MAX, type SeqpacketMessage, SeqpacketSocket } from './seqpacket.ts';
export { SeqpacketServer } from './seqpacket-server.ts';
export {
  closeFd,
  type Keepalive,
  localAddress,
  remoteAddress,
  resetOnClose,
  type SocketOptions,
  setSocketOptions,
  socketCookie,
  socketNetnsCookie,
  type TcpInfo,
  tcpInfo,
} from './socket-option.ts';
export { readSysctl, writeSysctl } from './sysctl.ts';
export { type ConnectTcpOptions, connectTcp } from './tcp-connect.ts';
export {
  type AcceptedSocket,
  type ListenSocket,
  type ListenTcpOptions,
  listenTcp,
  openListenSocket,
  type TcpListener,
} from './tcp-listener.ts';
export { destroyTcpSocket, listTcpSockets, type TcpSocket, type TcpState } from './tcp-table.ts';
export { type BindUdpOptions, bindUdp, leaveUdpGroup } from './udp.ts';

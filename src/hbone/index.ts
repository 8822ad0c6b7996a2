/** HBONE: HTTP/2 CONNECT over mutual TLS with SPIFFE identities. */
export { type ClientSession, type ClientSessionOptions, openClientSession } from './client-session.ts';
export { type ConnectedStream, type ConnectRequest, openConnectStream, StreamRefusedError } from './connect-stream.ts';
export {
  FLOOD_GUARDS,
  HBONE_ALPN,
  SERVER_MAX_STREAMS,
  type SessionLimits,
  serverSettings,
} from './parameters.ts';
export { checkClient, checkRevocation, checkServer, presentedChain, type RevocationCheck } from './peer-check.ts';
export { watchLiveness } from './session-liveness.ts';
export { type PoolableSession, type SessionLease, SessionPool, type SessionPoolOptions } from './session-pool.ts';
export { type ContextCredentials, contextOptions, TlsContextCache } from './tls-context-cache.ts';

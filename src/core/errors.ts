/**
 * The one error class of the project. A `MeshError` is caused by peers, operators or the environment and carries a code
 * that decides what happens next; a broken invariant is an `assert` and a crash.
 */

/** Every code a caller may decide on. Add a code beside its kin and say when it is raised. */
export type MeshErrorCode =
  /** Configuration from flags, environment or files is not usable; the message lists every problem. */
  | 'ERR_CONFIG'
  /** A wait ended at its deadline. */
  | 'ERR_TIMEOUT'
  /** The operation was given up because its owner is shutting down. */
  | 'ERR_ABORTED'
  /** A bounded queue, buffer or cache is full. */
  | 'ERR_LIMIT'
  /** Bytes or an object of a peer do not have the promised shape. */
  | 'ERR_MALFORMED'
  /** A name, object or address is not known. */
  | 'ERR_NOT_FOUND'
  /** The kernel or the system refused; `cause` has the errno. */
  | 'ERR_SYSTEM'
  /** The machine lacks a feature or privilege; the message says which and what to do. */
  | 'ERR_UNSUPPORTED'
  /** A TCP connection to the next hop could not be made; the second one when nobody answered in time. */
  | 'ERR_DIAL'
  | 'ERR_DIAL_TIMEOUT'
  /** An HBONE session could not be made, or its peer answered CONNECT with another status than 200. */
  | 'ERR_HBONE_DIAL'
  | 'ERR_HBONE_STATUS'
  /** HTTP/2 itself failed: its handshake, or a stream that the peer did not take. */
  | 'ERR_HTTP2'
  /** The session pool is draining; no session is opened any more. */
  | 'ERR_POOL_DRAINING'
  /** TLS failed, or the peer's certificate does not carry an accepted identity. */
  | 'ERR_TLS'
  | 'ERR_PEER_IDENTITY'
  /** A certificate for a local identity could not be obtained. */
  | 'ERR_IDENTITY'
  /** Refused by an authorization policy. */
  | 'ERR_POLICY_DENIED'
  /** The control plane or certificate authority refused or failed. */
  | 'ERR_XDS'
  | 'ERR_CA'
  /** The node agent or the tunnel broke the ZDS protocol. */
  | 'ERR_ZDS'
  /** Traffic redirection could not be installed or removed in a pod. */
  | 'ERR_REDIRECT'
  /** Something the demo or a check promised was not seen. */
  | 'ERR_CLAIM';

/** An error with a code to decide on, a message for a person and, where one is known, the cause. */
export class MeshError extends Error {
  override readonly name = 'MeshError';
  readonly code: MeshErrorCode;

  constructor(code: MeshErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The message of anything thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The errno name (`ECONNREFUSED`) of a system error, undefined for anything else. */
export function errnoName(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' && /^E[A-Z0-9]+$/.test(error.code) ? error.code : undefined;
}

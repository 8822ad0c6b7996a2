/** The response flag and the words of a connection that could not be made. Source: Istio ztunnel's `response_flags`. */
import { MeshError, type MeshErrorCode } from '../core/errors.ts';
import { PeerRevokedError } from '../pki/index.ts';
import type { ResponseFlag } from './port.ts';
import { ioErrorText } from './system-error.ts';

export interface Failure {
  readonly flag: ResponseFlag;
  readonly error: string;
}

/** The end of a live connection whose peer was revoked. */
export const REVOKED: Failure = {
  flag: 'CERT_REVOKED',
  error: 'connection closed: peer certificate revoked by CRL',
};

const FLAGS: Partial<Record<MeshErrorCode, ResponseFlag>> = {
  ERR_DIAL_TIMEOUT: 'NETWORK_POLICY',
  ERR_TLS: 'TLS_FAILURE',
  ERR_PEER_IDENTITY: 'TLS_FAILURE',
  ERR_IDENTITY: 'IDENTITY_ERROR',
  ERR_HTTP2: 'H2_HANDSHAKE_FAILURE',
  ERR_POLICY_DENIED: 'DENY',
};

export function toFailure(error: unknown): Failure {
  if (error instanceof PeerRevokedError) return { flag: 'CERT_REVOKED', error: error.message };
  if (!(error instanceof MeshError)) return { flag: 'CONNECT', error: ioErrorText(error) };
  return { flag: FLAGS[error.code] ?? 'CONNECT', error: error.message };
}

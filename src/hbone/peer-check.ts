/**
 * Who the other end of a TLS connection is. OpenSSL has verified the chain; here its SPIFFE identity is held against
 * what was expected, and the chain against the revocation lists.
 * Source: SPIFFE X.509-SVID specification section 4; the rules of Istio's ambient mode.
 */
import type { TLSSocket } from 'node:tls';
import { MeshError } from '../core/errors.ts';
import { type Identity, identityUri } from '../model/identity.ts';
import { parseTrustBundle, peerIdentities, type RevocationLists, verifyPeerChain } from '../pki/index.ts';

/** Longest chain a peer may present. */
const MAX_CHAIN = 16;

/**
 * The client's identity: its first SPIFFE URI SAN.
 * Throws ERR_PEER_IDENTITY when that is not of `trustDomain`, whatever further names follow: policies are decided by it.
 */
export function checkClient(leafDer: Uint8Array, trustDomain: string): Identity {
  const identities = peerIdentities(leafDer);
  const [first] = identities;
  if (first?.trustDomain !== trustDomain) {
    throw new MeshError(
      'ERR_PEER_IDENTITY',
      `identity verification error: peer did not present the expected trustdomain (${trustDomain}), got ${list(identities)}`,
    );
  }
  return first;
}

/** Throws ERR_PEER_IDENTITY unless one identity of the server's certificate is one of `expected`. */
export function checkServer(leafDer: Uint8Array, expected: readonly string[]): void {
  const identities = peerIdentities(leafDer);
  if (identities.some((identity) => expected.includes(identityUri(identity)))) return;
  throw new MeshError(
    'ERR_PEER_IDENTITY',
    `identity verification error: peer did not present the expected SAN ([${expected.join(', ')}]), got ${list(identities)}`,
  );
}

/** The certificates that the peer presented, DER, leaf first; empty when it presented none. */
export function presentedChain(socket: TLSSocket): readonly Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate = socket.getPeerCertificate(true);
  while (certificate?.raw && chain.length < MAX_CHAIN) {
    chain.push(certificate.raw);
    if (!certificate.issuerCertificate || certificate.issuerCertificate === certificate) break;
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

export interface RevocationCheck {
  readonly chain: readonly Uint8Array[];
  readonly rootsPem: string;
  readonly peerIs: 'client' | 'server';
  /** When the session was established: expiry later does not end it. */
  readonly atMs: number;
}

/** Throws PeerRevokedError when a certificate of the peer's path has been revoked. */
export function checkRevocation(
  { chain, rootsPem, peerIs, atMs }: RevocationCheck,
  revocations: RevocationLists,
): void {
  if (revocations.size === 0) return;
  verifyPeerChain(chain, { bundle: parseTrustBundle(rootsPem), peerIs, atMs, revocations });
}

function list(identities: readonly Identity[]): string {
  return `[${identities.map(identityUri).join(', ')}]`;
}

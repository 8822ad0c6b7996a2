/**
 * Verifies the chain that a peer presented: up to a trusted root, in its time, for its use, not revoked. A TLS library
 * does the same at the handshake; this is for what it does not do, revocation rules of the mesh and checking again later.
 *
 * Invariants
 *  - Certificates that the peer presents beyond its path do not matter.
 *  - An identity comes from the leaf only.
 * Source: RFC 5280 section 6, as far as workload certificates need it.
 */
import { MeshError } from '../core/errors.ts';
import type { Identity } from '../model/identity.ts';
import { type Certificate, certificateIdentities, parseCertificate } from './certificate.ts';
import type { RevocationLists } from './revocation-list.ts';
import { isSignedBy } from './signature.ts';
import type { TrustBundle } from './trust-bundle.ts';

const EXTENDED_USAGE = { client: '1.3.6.1.5.5.7.3.2', server: '1.3.6.1.5.5.7.3.1' } as const;
const MAX_PRESENTED = 16;
const MAX_DEPTH = 8;
/** Certificates made to sign each other have very many paths; an honest chain needs a handful of checks. */
const MAX_SIGNATURE_CHECKS = 64;

export interface PeerChainCheck {
  readonly bundle: TrustBundle;
  /** What the peer is in this connection. */
  readonly peerIs: 'client' | 'server';
  /** Time to check validity at: of the handshake, also when checking again later. */
  readonly atMs: number;
  readonly revocations: RevocationLists;
}

export interface VerifiedPeer {
  /** First one: who the peer is. Not empty. */
  readonly identities: readonly [Identity, ...Identity[]];
  readonly leaf: Certificate;
  /** Leaf first, root last. */
  readonly path: readonly Certificate[];
}

/**
 * Verifies DER certificates, leaf first. Throws ERR_TLS when the chain does not hold, ERR_PEER_IDENTITY when the leaf
 * has no SPIFFE identity, and a PeerRevokedError when a certificate of the path is revoked.
 */
export function verifyPeerChain(presented: readonly Uint8Array[], check: PeerChainCheck): VerifiedPeer {
  if (presented.length > MAX_PRESENTED) throw refused(`${presented.length} certificates presented`);
  const [leaf, ...others] = readable(() => presented.map(parseCertificate));
  if (!leaf) throw refused('no certificate presented');
  const usage = EXTENDED_USAGE[check.peerIs];
  if (leaf.extendedKeyUsages && !leaf.extendedKeyUsages.includes(usage))
    throw refused(`not for use by a ${check.peerIs}`);
  if (!isInTime(leaf, check.atMs)) throw refused('the certificate has expired or is not yet valid');
  const path = new PathSearch(others, check).find([leaf]);
  if (!path) throw refused('the chain does not lead to a trusted root');
  if (isPathRevoked(path, check.revocations)) throw new PeerRevokedError();
  const [identity, ...more] = certificateIdentities(leaf);
  if (!identity) throw new MeshError('ERR_PEER_IDENTITY', 'the peer certificate has no SPIFFE identity');
  return { identities: [identity, ...more], leaf, path };
}

/** Whether a chain, leaf first, leads to a root of the bundle at that time. Total. */
export function leadsToRoot(chain: readonly Certificate[], bundle: TrustBundle, atMs: number): boolean {
  const [leaf, ...others] = chain;
  return (
    leaf !== undefined && isInTime(leaf, atMs) && new PathSearch(others, { bundle, atMs }).find([leaf]) !== undefined
  );
}

/** A certificate of the path was revoked; the connection's flag is CERT_REVOKED. */
export class PeerRevokedError extends MeshError {
  constructor() {
    super('ERR_TLS', 'peer certificate revoked by CRL');
  }
}

/** Whether a chain that verified before is still free of revoked certificates. Total. */
export function isPathRevoked(path: readonly Certificate[], revocations: RevocationLists): boolean {
  return path.some((certificate, i) => {
    const issuer = path[i + 1];
    return issuer !== undefined && revocations.isRevoked(certificate, issuer);
  });
}

/** Depth first over possible issuers: two of one name (a renewed intermediate) are both tried. */
class PathSearch {
  readonly #others: readonly Certificate[];
  readonly #check: Pick<PeerChainCheck, 'bundle' | 'atMs'>;
  #checksLeft = MAX_SIGNATURE_CHECKS;

  constructor(others: readonly Certificate[], check: Pick<PeerChainCheck, 'bundle' | 'atMs'>) {
    this.#others = others.filter((certificate) => certificate.isCa && certificate.maySign);
    this.#check = check;
  }

  /** `path` continued up to a root. */
  find(path: readonly [Certificate, ...Certificate[]]): readonly Certificate[] | undefined {
    const last = path.at(-1) ?? path[0];
    if (path.length > MAX_DEPTH) return undefined;
    const root = this.#check.bundle.roots.find((candidate) => this.#issued(candidate, last));
    if (root) return [...path, root];
    for (const candidate of this.#others) {
      if (path.includes(candidate) || !this.#issued(candidate, last)) continue;
      const found = this.find([...path, candidate]);
      if (found) return found;
    }
    return undefined;
  }

  #issued(issuer: Certificate, certificate: Certificate): boolean {
    if (Buffer.compare(issuer.subject, certificate.issuer) !== 0 || !isInTime(issuer, this.#check.atMs)) return false;
    this.#checksLeft -= 1;
    return this.#checksLeft >= 0 && isSignedBy(certificate.der, issuer.publicKeyDer);
  }
}

function isInTime({ notBeforeMs, notAfterMs }: Certificate, atMs: number): boolean {
  return atMs >= notBeforeMs && atMs <= notAfterMs;
}

function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new MeshError('ERR_TLS', 'a peer certificate cannot be read', { cause });
  }
}

function refused(reason: string): MeshError {
  return new MeshError('ERR_TLS', `peer certificate refused: ${reason}`);
}

/** The roots that peers are checked against; several at a time while a root is replaced. */
import { MeshError } from '../core/errors.ts';
import { type Certificate, parseCertificate } from './certificate.ts';
import { CERTIFICATE, parsePem } from './pem.ts';

export interface TrustBundle {
  readonly roots: readonly Certificate[];
}

/** Reads one or more PEM certificates. Throws ERR_MALFORMED when there is none or one cannot be read. */
export function parseTrustBundle(pem: string): TrustBundle {
  const roots = parsePem(pem, CERTIFICATE).map(parseCertificate);
  if (roots.length === 0) throw new MeshError('ERR_MALFORMED', 'the trust bundle holds no certificate');
  return { roots };
}

/** What is trusted when either bundle is; the first keeps its order. */
export function joinTrustBundles(a: TrustBundle, b: TrustBundle): TrustBundle {
  const isNew = (root: Certificate): boolean => a.roots.every((known) => Buffer.compare(known.der, root.der) !== 0);
  return { roots: [...a.roots, ...b.roots.filter(isNew)] };
}

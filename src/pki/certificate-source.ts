/** Where certificates come from: a port, and the implementation that signs in this process. */
import { type Identity, identityUri } from '../model/identity.ts';
import type { CertificateAuthority } from './certificate-authority.ts';
import { PrivateKey } from './private-key.ts';
import { Svid } from './svid.ts';

export interface CertificateSource {
  /** Gets one new certificate. Rejects with ERR_CA, also when `signal` aborts or a deadline of its own passes. */
  fetch(identity: Identity, signal: AbortSignal): Promise<Svid>;
}

/** Signs with an authority at hand, without asking anybody. */
export function selfIssuing(authority: Pick<CertificateAuthority, 'issue'>, ttlSeconds = 0): CertificateSource {
  return {
    async fetch(identity) {
      const key = await PrivateKey.generate();
      return Svid.parse(identity, key, authority.issue(key.publicKeyDer, [identityUri(identity)], ttlSeconds));
    },
  };
}

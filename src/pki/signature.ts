/** Checks signatures of certificates, requests and revocation lists. Source: RFC 4055, RFC 5758. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { parseSigned } from './certificate.ts';

/** MD5 and SHA-1 are not here on purpose. */
const ALGORITHMS: Readonly<Record<string, { readonly digest: string; readonly keyType: 'ec' | 'rsa' }>> = {
  '1.2.840.10045.4.3.2': { digest: 'sha256', keyType: 'ec' },
  '1.2.840.10045.4.3.3': { digest: 'sha384', keyType: 'ec' },
  '1.2.840.10045.4.3.4': { digest: 'sha512', keyType: 'ec' },
  '1.2.840.113549.1.1.11': { digest: 'sha256', keyType: 'rsa' },
  '1.2.840.113549.1.1.12': { digest: 'sha384', keyType: 'rsa' },
  '1.2.840.113549.1.1.13': { digest: 'sha512', keyType: 'rsa' },
};

/** Whether the structure was signed by this key; false as well for algorithms that are not accepted. Total. */
export function isSignedBy(der: Uint8Array, publicKeyDer: Uint8Array): boolean {
  try {
    const { body, algorithm, signature } = parseSigned(der);
    const accepted = ALGORITHMS[algorithm];
    const key = toPublicKey(publicKeyDer);
    if (accepted?.keyType !== key.asymmetricKeyType) return false;
    return verify(accepted?.digest, body.encoding, key, signature);
  } catch {
    return false; // malformed bytes or a key that does not fit are not a signature
  }
}

/** Throws when the bytes are not a SubjectPublicKeyInfo. */
export function toPublicKey(publicKeyDer: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.from(publicKeyDer), format: 'der', type: 'spki' });
}

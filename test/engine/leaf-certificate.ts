/** Certificates that an authority would not issue, below one root that all of them in a process share. */
import { X509Certificate } from 'node:crypto';
import type { TlsCredentials } from '../../src/engine/index.ts';
import { buildCertificate, nameDer } from '../../src/pki/certificate-builder.ts';
import { PrivateKey } from '../../src/pki/index.ts';
import { revocationList } from '../support/revocation-list.ts';
import { CLIENT } from './rig.ts';

const DAY_MS = 86_400_000;
const rootKey = await PrivateKey.generate();
const signer = { key: rootKey, subject: nameDer('test root') };
const rootsPem = buildCertificate(
  {
    publicKeyDer: rootKey.publicKeyDer,
    organization: 'test root',
    names: {},
    isCa: true,
    notBeforeMs: Date.now() - 30 * DAY_MS,
    notAfterMs: Date.now() + 30 * DAY_MS,
  },
  signer,
);
let issued = 0;

/** A leaf for `key` with these URI names and times. */
export function leafOf(
  key: PrivateKey,
  uris: readonly string[],
  times: { readonly notBeforeMs: number; readonly notAfterMs: number },
): TlsCredentials {
  issued += 1;
  return {
    identity: CLIENT,
    version: `leaf-${process.pid}-${issued}`,
    privateKeyPem: key.reveal(),
    certChainPem: buildCertificate({ publicKeyDer: key.publicKeyDer, names: { uris }, isCa: false, ...times }, signer),
    rootsPem,
  };
}

/** A revocation list of the shared root, DER, that names these certificates. */
export function revocationListOf(...revoked: readonly TlsCredentials[]): Buffer {
  const serials = revoked.map(({ certChainPem }) => BigInt(`0x${new X509Certificate(certChainPem).serialNumber}`));
  return revocationList(signer, serials);
}

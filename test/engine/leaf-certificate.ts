/** Certificates that an authority would not issue, below one root that all of them in a process share. */
import { X509Certificate } from 'node:crypto';
import type { TlsCredentials } from '../../src/engine/index.ts';
import { buildCertificate, nameDer } from '../../src/pki/certificate-builder.ts';
import { PrivateKey } from '../../src/pki/index.ts';
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

/** A revocation list of the shared root, DER, that names these certificates. Source: RFC 5280 section 5.1. */
export function revocationListOf(...revoked: readonly TlsCredentials[]): Buffer {
  const entries = revoked.map(({ certChainPem }) => {
    const serial = new X509Certificate(certChainPem).serialNumber.padStart(32, '0');
    return element(0x30, element(0x02, Buffer.from(serial, 'hex')), time('260101000000Z'));
  });
  const algorithm = element(0x30, Buffer.from('06082a8648ce3d040302', 'hex')); // ecdsa-with-SHA256
  const body = element(
    0x30,
    element(0x02, Buffer.from([1])), // version 2
    algorithm,
    nameDer('test root'),
    time('260101000000Z'),
    time('260102000000Z'),
    element(0x30, ...entries),
  );
  return element(0x30, body, algorithm, element(0x03, Buffer.from([0]), rootKey.sign(body)));
}

function element(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const length = content.length < 128 ? [content.length] : [0x82, content.length >> 8, content.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

const time = (text: string): Buffer => element(0x17, Buffer.from(text));

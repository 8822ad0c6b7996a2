/**
 * Checks a certificate request of a foreign peer: bounded, well formed, and signed by the key that it names.
 * Its subject and names are read for the log only; what a certificate says is decided from who asks.
 * Source: RFC 2986.
 */
import { MeshError } from '../core/errors.ts';
import { parseExtensions, parseNames, parseSigned } from './certificate.ts';
import { contextTag, type DerElement, expectTag, parseChildren, parseOid, TAG } from './der.ts';
import { CERTIFICATE_REQUEST, parsePem } from './pem.ts';
import { isSignedBy, toPublicKey } from './signature.ts';

/** A P-256 request has 300 to 500 bytes, an RSA 4096 one below 2 KiB. */
const MAX_REQUEST_TEXT_LENGTH = 16 * 1024;
const EXTENSION_REQUEST = '1.2.840.113549.1.9.14';
const MIN_RSA_BITS = 2_048;

export interface CertificateRequest {
  readonly publicKeyDer: Uint8Array;
  readonly uriNames: readonly string[];
}

/** Throws ERR_MALFORMED when the text is not one request, its key is too weak or its signature is not by its key. */
export function parseCertificateRequest(pem: string): CertificateRequest {
  if (pem.length > MAX_REQUEST_TEXT_LENGTH) throw malformed(`it has ${pem.length} characters`);
  const [der, ...more] = parsePem(pem, CERTIFICATE_REQUEST);
  if (!der || more.length > 0) throw malformed('expected one PEM block CERTIFICATE REQUEST');
  const [, , publicKey, attributes] = parseChildren(parseSigned(der).body);
  const publicKeyDer = expectTag(publicKey, TAG.sequence, 'public key').encoding;
  checkKey(publicKeyDer);
  if (!isSignedBy(der, publicKeyDer)) throw malformed('its signature is not by its key');
  return { publicKeyDer, uriNames: requestedUris(attributes) };
}

function checkKey(publicKeyDer: Uint8Array): void {
  let key: ReturnType<typeof toPublicKey>;
  try {
    key = toPublicKey(publicKeyDer);
  } catch (cause) {
    throw new MeshError('ERR_MALFORMED', 'invalid certificate request: its key cannot be read', { cause });
  }
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  const isAccepted =
    key.asymmetricKeyType === 'rsa'
      ? modulusLength >= MIN_RSA_BITS && modulusLength <= 8_192
      : namedCurve === 'prime256v1' || namedCurve === 'secp384r1' || namedCurve === 'secp521r1';
  if (!isAccepted) throw malformed('its key is too weak or of an unknown kind');
}

function requestedUris(attributes: DerElement | undefined): readonly string[] {
  if (attributes?.tag !== contextTag(0)) return [];
  for (const attribute of parseChildren(attributes)) {
    const [id, values] = parseChildren(expectTag(attribute, TAG.sequence, 'attribute'));
    if (parseOid(id) !== EXTENSION_REQUEST) continue;
    return parseNames(parseExtensions(expectTag(values, TAG.set, 'attribute values')).get('2.5.29.17')).uris;
  }
  return [];
}

function malformed(reason: string): MeshError {
  return new MeshError('ERR_MALFORMED', `invalid certificate request: ${reason}`);
}

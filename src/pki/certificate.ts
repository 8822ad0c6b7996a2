/**
 * Reads X.509 certificates from their DER bytes.
 *
 * Names are taken from the DER of the extensions, never from printed text: a name that contains separators cannot pose
 * as two names. Source: RFC 5280; SPIFFE X.509-SVID for the identity.
 */
import { MeshError } from '../core/errors.ts';
import { type Identity, parseIdentity } from '../model/identity.ts';
import {
  contextTag,
  type DerElement,
  expectTag,
  parseBits,
  parseChildren,
  parseDer,
  parseOid,
  parseTime,
  parseUnsigned,
  TAG,
} from './der.ts';

const OID = {
  subjectKeyIdentifier: '2.5.29.14',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
} as const;
const URI_NAME = 0x86;
const DNS_NAME = 0x82;
const MAX_CERTIFICATE_BYTES = 64 * 1024;
const MAX_NAMES = 100;

export interface Certificate {
  readonly der: Uint8Array;
  readonly serial: bigint;
  /** DER of the names: equal names have equal bytes. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKeyDer: Uint8Array;
  readonly subjectKeyIdentifier: Uint8Array | undefined;
  readonly uriNames: readonly string[];
  readonly dnsNames: readonly string[];
  readonly isCa: boolean;
  /** Whether it may sign certificates; true without a key usage extension. */
  readonly maySign: boolean;
  /** Object identifiers; undefined without the extension: every use is allowed. */
  readonly extendedKeyUsages: readonly string[] | undefined;
}

/** Throws ERR_MALFORMED. */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_CERTIFICATE_BYTES) throw new MeshError('ERR_MALFORMED', `certificate of ${der.length} bytes`);
  const [tbs] = parseChildren(expectTag(parseDer(der), TAG.sequence, 'certificate'));
  const fields = parseChildren(expectTag(tbs, TAG.sequence, 'certificate body'));
  const start = fields[0]?.tag === contextTag(0) ? 1 : 0;
  const [serial, , issuer, validity, subject, publicKey] = fields.slice(start);
  const [notBefore, notAfter] = parseChildren(expectTag(validity, TAG.sequence, 'validity'));
  const extensions = parseExtensions(fields.find((field) => field.tag === contextTag(3)));
  const names = parseNames(extensions.get(OID.subjectAltName));
  return {
    der,
    serial: parseUnsigned(serial),
    issuer: expectTag(issuer, TAG.sequence, 'issuer').encoding,
    subject: expectTag(subject, TAG.sequence, 'subject').encoding,
    notBeforeMs: parseTime(notBefore),
    notAfterMs: parseTime(notAfter),
    publicKeyDer: expectTag(publicKey, TAG.sequence, 'public key').encoding,
    subjectKeyIdentifier: extensions.get(OID.subjectKeyIdentifier)?.content,
    uriNames: names.uris,
    dnsNames: names.dns,
    isCa: parseIsCa(extensions.get(OID.basicConstraints)),
    maySign: parseMaySign(extensions.get(OID.keyUsage)),
    extendedKeyUsages: parseExtendedKeyUsages(extensions.get(OID.extendedKeyUsage)),
  };
}

/**
 * SPIFFE identities of a peer's certificate in the order of its URI names; names of another form are skipped.
 * The first one is who the peer is. Throws ERR_MALFORMED.
 */
export function peerIdentities(der: Uint8Array): readonly Identity[] {
  return certificateIdentities(parseCertificate(der));
}

/** The same for a parsed certificate. */
export function certificateIdentities({ uriNames }: Pick<Certificate, 'uriNames'>): readonly Identity[] {
  return uriNames.map(parseIdentity).filter((identity) => identity !== undefined);
}

/** Values of the extensions by object identifier, from the `[n]` element that wraps them. Throws ERR_MALFORMED. */
export function parseExtensions(wrapper: DerElement | undefined): ReadonlyMap<string, DerElement> {
  const extensions = new Map<string, DerElement>();
  if (!wrapper) return extensions;
  const [list] = parseChildren(wrapper);
  for (const extension of parseChildren(expectTag(list, TAG.sequence, 'extensions'))) {
    const parts = parseChildren(expectTag(extension, TAG.sequence, 'extension'));
    const oid = parseOid(parts[0]);
    // RFC 5280 section 4.2: an extension stands there once; a second one could hide names from one reader.
    if (extensions.has(oid)) throw new MeshError('ERR_MALFORMED', `extension ${oid} is there twice`);
    extensions.set(oid, parseDer(expectTag(parts.at(-1), TAG.octetString, 'extension value').content));
  }
  return extensions;
}

/** URI and DNS names of a subjectAltName extension. Throws ERR_MALFORMED. */
export function parseNames(value: DerElement | undefined): { uris: readonly string[]; dns: readonly string[] } {
  if (!value) return { uris: [], dns: [] };
  const names = parseChildren(expectTag(value, TAG.sequence, 'subjectAltName'));
  if (names.length > MAX_NAMES) throw new MeshError('ERR_MALFORMED', `certificate with ${names.length} names`);
  const ofTag = (tag: number): string[] => names.filter((name) => name.tag === tag).map(ia5Text);
  return { uris: ofTag(URI_NAME), dns: ofTag(DNS_NAME) };
}

function ia5Text({ content }: DerElement): string {
  if (content.some((byte) => byte < 0x20 || byte > 0x7e)) {
    throw new MeshError('ERR_MALFORMED', 'name with characters that are not printable ASCII');
  }
  return Buffer.from(content).toString('latin1');
}

function parseIsCa(value: DerElement | undefined): boolean {
  if (!value) return false;
  const [flag] = parseChildren(expectTag(value, TAG.sequence, 'basicConstraints'));
  return flag?.tag === TAG.boolean && flag.content[0] === 0xff;
}

function parseMaySign(value: DerElement | undefined): boolean {
  if (!value) return true;
  const { content } = expectTag(value, TAG.bitString, 'keyUsage');
  return ((content[1] ?? 0) & 0x04) !== 0; // bit 5, keyCertSign
}

function parseExtendedKeyUsages(value: DerElement | undefined): readonly string[] | undefined {
  return value && parseChildren(expectTag(value, TAG.sequence, 'extKeyUsage')).map(parseOid);
}

/** Algorithm, signed bytes and signature of a signed structure (certificate, request, list). Throws ERR_MALFORMED. */
export function parseSigned(der: Uint8Array): { body: DerElement; algorithm: string; signature: Uint8Array } {
  const [body, algorithm, signature] = parseChildren(expectTag(parseDer(der), TAG.sequence, 'signed structure'));
  const [oid] = parseChildren(expectTag(algorithm, TAG.sequence, 'signature algorithm'));
  return {
    body: expectTag(body, TAG.sequence, 'signed body'),
    algorithm: parseOid(oid),
    signature: parseBits(signature),
  };
}

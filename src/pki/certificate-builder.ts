/**
 * Writes certificates and certificate requests. The structures are ASN.1 built by node-forge, the signatures are made by
 * the platform: SHA-256 with ECDSA or RSA. Source: RFC 5280, RFC 2986; profile of leaves as Istio issues them.
 */
import { createHash, randomBytes } from 'node:crypto';
import forge from 'node-forge';
import { CERTIFICATE, CERTIFICATE_REQUEST, toPem } from './pem.ts';
import type { PrivateKey } from './private-key.ts';

const { asn1 } = forge;
type Asn1 = forge.asn1.Asn1;

const ECDSA_SHA256 = '1.2.840.10045.4.3.2';
const RSA_SHA256 = '1.2.840.113549.1.1.11';
const ORGANIZATION = '2.5.4.10';
const EXTENSION_REQUEST = '1.2.840.113549.1.9.14';
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
/** keyUsage as (unused bits, bits): digitalSignature + keyEncipherment, and keyCertSign + cRLSign. */
const LEAF_USAGE = [5, 0xa0] as const;
const CA_USAGE = [1, 0x06] as const;

export interface SubjectNames {
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  /** 4 or 16 bytes each. */
  readonly ips?: readonly Uint8Array[];
}

export interface Signer {
  readonly key: PrivateKey;
  /** DER of the signer's subject; for a root its own. */
  readonly subject: Uint8Array;
  /** As in the signer's certificate; made from its key when absent. */
  readonly keyIdentifier?: Uint8Array;
}

export interface CertificateTemplate {
  readonly publicKeyDer: Uint8Array;
  /** Organization in the subject; the subject is empty without. */
  readonly organization?: string;
  readonly names: SubjectNames;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly isCa: boolean;
}

/** DER of a name that holds an organization only, or nothing. */
export function nameDer(organization?: string): Uint8Array {
  return Buffer.from(asn1.toDer(name(organization)).getBytes(), 'binary');
}

/** Signs a certificate with a random serial of 128 bits. Returns PEM. */
export function buildCertificate(template: CertificateTemplate, signer: Signer): string {
  const algorithm = signatureAlgorithm(signer.key);
  const body = sequence(
    context(0, [integer(Uint8Array.of(2))]), // v3
    integer(serial()),
    algorithm,
    parsed(signer.subject),
    sequence(time(template.notBeforeMs), time(template.notAfterMs)),
    name(template.organization),
    parsed(template.publicKeyDer),
    context(3, [sequence(...extensions(template, signer))]),
  );
  return toPem(signed(body, algorithm, signer.key), CERTIFICATE);
}

/** A certificate request with an empty subject and these names in a critical subjectAltName. Returns PEM. */
export function buildCertificateRequest(names: SubjectNames, key: PrivateKey): string {
  const request = sequence(extension('2.5.29.17', true, namesValue(names)));
  const attribute = sequence(oid(EXTENSION_REQUEST), node(asn1.Type.SET, [request]));
  const body = sequence(integer(Uint8Array.of(0)), name(), parsed(key.publicKeyDer), context(0, [attribute]));
  return toPem(signed(body, signatureAlgorithm(key), key), CERTIFICATE_REQUEST);
}

function extensions(template: CertificateTemplate, signer: Signer): Asn1[] {
  const list = template.isCa
    ? [
        extension('2.5.29.15', true, bits(CA_USAGE)),
        extension('2.5.29.19', true, sequence(node(asn1.Type.BOOLEAN, '\xff'))),
        extension('2.5.29.14', false, octets(keyIdentifier(template.publicKeyDer))),
      ]
    : [
        extension('2.5.29.15', true, bits(LEAF_USAGE)),
        extension('2.5.29.37', false, sequence(oid(SERVER_AUTH), oid(CLIENT_AUTH))),
        extension('2.5.29.19', true, sequence()),
        extension(
          '2.5.29.35',
          false,
          sequence(contextPrimitive(0, signer.keyIdentifier ?? keyIdentifier(signer.key.publicKeyDer))),
        ),
      ];
  // RFC 5280 section 4.1.2.6: with an empty subject the names are critical.
  const value = namesValue(template.names);
  return value.value.length === 0
    ? list
    : [...list, extension('2.5.29.17', template.organization === undefined, value)];
}

function namesValue({ uris = [], dnsNames = [], ips = [] }: SubjectNames): Asn1 {
  return sequence(
    ...uris.map((uri) => contextPrimitive(6, Buffer.from(uri, 'latin1'))),
    ...dnsNames.map((dns) => contextPrimitive(2, Buffer.from(dns, 'latin1'))),
    ...ips.map((ip) => contextPrimitive(7, ip)),
  );
}

/** RFC 5280 section 4.2.1.2, method 1: SHA-1 names the key, it protects nothing. */
function keyIdentifier(publicKeyDer: Uint8Array): Buffer {
  const bitString = (parsed(publicKeyDer).value as Asn1[])[1]; // a SubjectPublicKeyInfo has two elements
  const bytes = typeof bitString?.value === 'string' ? bitString.value.slice(1) : '';
  return createHash('sha1').update(Buffer.from(bytes, 'binary')).digest();
}

/** Positive, 16 bytes. */
function serial(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

function signed(body: Asn1, algorithm: Asn1, key: PrivateKey): Buffer {
  const signature = key.sign(Buffer.from(asn1.toDer(body).getBytes(), 'binary'));
  return Buffer.from(asn1.toDer(sequence(body, algorithm, bits([0, ...signature]))).getBytes(), 'binary');
}

function signatureAlgorithm(key: PrivateKey): Asn1 {
  return key.type === 'rsa' ? sequence(oid(RSA_SHA256), node(asn1.Type.NULL, '')) : sequence(oid(ECDSA_SHA256));
}

function name(organization?: string): Asn1 {
  if (organization === undefined) return sequence();
  const attribute = sequence(oid(ORGANIZATION), node(asn1.Type.UTF8, Buffer.from(organization).toString('binary')));
  return sequence(node(asn1.Type.SET, [attribute]));
}

function extension(id: string, critical: boolean, value: Asn1): Asn1 {
  const wrapped = octets(Buffer.from(asn1.toDer(value).getBytes(), 'binary'));
  return critical ? sequence(oid(id), node(asn1.Type.BOOLEAN, '\xff'), wrapped) : sequence(oid(id), wrapped);
}

/** UTCTime up to 2049, GeneralizedTime after (RFC 5280 section 4.1.2.5). Whole seconds. */
function time(ms: number): Asn1 {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '');
  return new Date(ms).getUTCFullYear() < 2050
    ? node(asn1.Type.UTCTIME, digits.slice(2))
    : node(asn1.Type.GENERALIZEDTIME, digits);
}

/** A structure whose DER is at hand; keeps bit strings as they are. */
function parsed(der: Uint8Array): Asn1 {
  const options = { strict: true, parseAllBytes: true, decodeBitStrings: false };
  return asn1.fromDer(forge.util.createBuffer(Buffer.from(der).toString('binary')), options as never);
}

function node(type: forge.asn1.Type, value: string | Asn1[]): Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, type, typeof value !== 'string', value);
}
function sequence(...children: Asn1[]): Asn1 {
  return node(asn1.Type.SEQUENCE, children);
}
function oid(id: string): Asn1 {
  return node(asn1.Type.OID, asn1.oidToDer(id).getBytes());
}
function integer(bytes: Uint8Array): Asn1 {
  return node(asn1.Type.INTEGER, Buffer.from(bytes).toString('binary'));
}
function octets(bytes: Uint8Array): Asn1 {
  return node(asn1.Type.OCTETSTRING, Buffer.from(bytes).toString('binary'));
}
function bits(bytes: Iterable<number>): Asn1 {
  return node(asn1.Type.BITSTRING, Buffer.from([...bytes]).toString('binary'));
}
function context(number: number, children: Asn1[]): Asn1 {
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, number as forge.asn1.Type, true, children);
}
function contextPrimitive(number: number, bytes: Uint8Array): Asn1 {
  const value = Buffer.from(bytes).toString('binary');
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, number as forge.asn1.Type, false, value);
}

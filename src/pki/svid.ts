/**
 * A certificate of one workload identity with its key and trust roots: what a TLS endpoint needs.
 * Source: Istio CSR response (leaf first, root bundle last).
 */
import { MeshError } from '../core/errors.ts';
import { type Identity, identityUri, sameIdentity } from '../model/identity.ts';
import { type Certificate, certificateIdentities, parseCertificate } from './certificate.ts';
import { CERTIFICATE, parsePem } from './pem.ts';
import type { PrivateKey } from './private-key.ts';

/** Has the shape that engines ask for as credentials. Its key is not among the printable fields. */
export class Svid {
  readonly identity: Identity;
  /** Serial number in hex: differs for every certificate issued. */
  readonly version: string;
  /** Leaf first, then intermediates. */
  readonly certChainPem: string;
  readonly rootsPem: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Parsed, for the config dump: leaf first, then intermediates. */
  readonly chain: readonly Certificate[];
  readonly roots: readonly Certificate[];
  readonly #key: PrivateKey;

  private constructor(identity: Identity, key: PrivateKey, texts: { chain: readonly string[]; roots: string }) {
    this.#key = key;
    this.identity = identity;
    this.certChainPem = texts.chain.join('');
    this.rootsPem = texts.roots;
    this.chain = parsePem(this.certChainPem, CERTIFICATE).map(parseCertificate);
    this.roots = parsePem(texts.roots, CERTIFICATE).map(parseCertificate);
    const [leaf] = this.chain;
    if (!leaf) throw new MeshError('ERR_CA', 'the response holds no leaf certificate');
    this.version = leaf.serial.toString(16);
    this.notBeforeMs = leaf.notBeforeMs;
    this.notAfterMs = leaf.notAfterMs;
    if (this.roots.length === 0) throw new MeshError('ERR_CA', 'no root certificate present in the response');
    if (!key.publicKeyDer.equals(leaf.publicKeyDer)) {
      throw new MeshError('ERR_CA', 'the certificate is for another key than the one asked for');
    }
  }

  /**
   * Takes a certificate authority's answer. Throws ERR_CA when it is empty, has no root, is for another identity or
   * another key, or cannot be read.
   */
  static parse(identity: Identity, key: PrivateKey, certChain: readonly string[]): Svid {
    const [leaf, ...rest] = certChain;
    const roots = rest.pop();
    if (leaf === undefined) throw new MeshError('ERR_CA', 'the certificate authority gave an empty response');
    if (roots === undefined) throw new MeshError('ERR_CA', 'no root certificate present in the response');
    const svid = readable(() => new Svid(identity, key, { chain: [leaf, ...rest].map(withLineFeed), roots }));
    const names = svid.chain[0] ? certificateIdentities(svid.chain[0]) : [];
    if (!names.some((name) => sameIdentity(name, identity))) {
      const got = names.map(identityUri).join(', ') || 'none';
      throw new MeshError('ERR_CA', `SAN mismatch: expected ${identityUri(identity)}, got ${got}`);
    }
    return svid;
  }

  get privateKeyPem(): string {
    return this.#key.reveal();
  }

  isValidAt(nowMs: number): boolean {
    return nowMs >= this.notBeforeMs && nowMs < this.notAfterMs;
  }
}

function readable(make: () => Svid): Svid {
  try {
    return make();
  } catch (cause) {
    if (cause instanceof MeshError && cause.code === 'ERR_CA') throw cause;
    throw new MeshError('ERR_CA', 'the certificate authority gave a certificate that cannot be read', { cause });
  }
}

function withLineFeed(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}

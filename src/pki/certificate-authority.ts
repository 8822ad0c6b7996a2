/**
 * The certificate authority: signs what it is told to sign. Who may ask for what is decided before.
 *
 * Invariants
 *  - No certificate outlives its signer.
 *  - Names come from the caller of `issue`, never from a request.
 * Source: Istio's CA (xds behaviour: default 24 h, at most 90 days, valid from 2 minutes ago).
 */
import type { Clock } from '../core/clock.ts';
import { MeshError } from '../core/errors.ts';
import { ipBytes } from '../model/ip-bytes.ts';
import { type CaMaterial, readCaFiles, selfSignedRoot } from './ca-files.ts';
import { type CaKeeper, folderCaKeeper } from './ca-keeper.ts';
import { type Certificate, parseCertificate } from './certificate.ts';
import { buildCertificate, type Signer, type SubjectNames } from './certificate-builder.ts';
import { CERTIFICATE, parsePem, toPem } from './pem.ts';
import { PrivateKey } from './private-key.ts';
import { isSignedBy } from './signature.ts';

export const DEFAULT_WORKLOAD_TTL_SECONDS = 24 * 3_600;
export const MAX_WORKLOAD_TTL_SECONDS = 90 * 24 * 3_600;
/** Clocks of nodes differ; a certificate is valid this long before it was issued. */
const BACKDATE_MS = 120_000;
const SERVER_LIFETIME_MS = 365 * 24 * 3_600_000;
/** A self-signed root is renewed in the last fifth of its life. */
const RENEW_FRACTION = 0.2;

export interface CertificateAuthorityOptions {
  /** Files given by the operator; used when there are any. */
  readonly pluggedFolder?: string;
  /** Where a self-made root is kept: a folder, made when missing, or another keeper. */
  readonly folder: string | CaKeeper;
  readonly trustDomain: string;
  readonly clock: Clock;
  /** A plugged set may come with other roots, as long as one set of roots holds the other. */
  readonly multiRoot?: boolean;
}

export interface ServerCertificate {
  readonly key: PrivateKey;
  /** Leaf first. */
  readonly certChainPem: string;
  readonly notAfterMs: number;
}

export class CertificateAuthority {
  readonly trustDomain: string;
  readonly #clock: Clock;
  readonly #keeper: CaKeeper | undefined;
  readonly #pluggedFolder: string | undefined;
  readonly #multiRoot: boolean;
  #material: CaMaterial;
  #certificate: Certificate;

  private constructor(material: CaMaterial, options: Omit<CertificateAuthorityOptions, 'folder'>, keeper?: CaKeeper) {
    this.trustDomain = options.trustDomain;
    this.#clock = options.clock;
    this.#keeper = keeper;
    this.#pluggedFolder = keeper ? undefined : options.pluggedFolder;
    this.#multiRoot = options.multiRoot ?? false;
    this.#material = material;
    this.#certificate = checkMaterial(material);
  }

  /** Reads the plugged files, else the kept root, else makes and keeps one. Throws ERR_CONFIG. */
  static async open(options: CertificateAuthorityOptions): Promise<CertificateAuthority> {
    const plugged = options.pluggedFolder === undefined ? undefined : await readCaFiles(options.pluggedFolder);
    if (plugged) return new CertificateAuthority(plugged, options);
    const { folder, trustDomain, clock } = options;
    const keeper = typeof folder === 'string' ? folderCaKeeper(folder) : folder;
    const make = async () => selfSignedRoot(await PrivateKey.generate(), trustDomain, clock.nowMs());
    const kept = (await keeper.read()) ?? (await keeper.create(make));
    const authority = new CertificateAuthority(kept, options, keeper);
    await authority.renewRootIfDue();
    return authority;
  }

  /** An authority that forgets its key with the process: for tests and single-process meshes. */
  static async ephemeral(options: Omit<CertificateAuthorityOptions, 'folder'>): Promise<CertificateAuthority> {
    const key = await PrivateKey.generate();
    return new CertificateAuthority(await selfSignedRoot(key, options.trustDomain, options.clock.nowMs()), options);
  }

  /** What peers check against; may hold several roots. */
  get rootsPem(): string {
    return this.#material.rootsPem;
  }

  /** Revocation lists of the plugged set. */
  get crlPem(): string | undefined {
    return this.#material.crlPem;
  }

  get notAfterMs(): number {
    return this.#certificate.notAfterMs;
  }

  /** The folder of the operator's set, when it is one that signs. */
  get pluggedFolder(): string | undefined {
    return this.#pluggedFolder;
  }

  /**
   * Reads the plugged set again; answers whether anything changed. What does not fit changes nothing: a set that is
   * incomplete, or other roots (with `multiRoot`: roots of which neither set holds the other). Throws ERR_CONFIG then.
   */
  async reloadPlugged(): Promise<boolean> {
    if (this.#pluggedFolder === undefined) return false;
    const read = await readCaFiles(this.#pluggedFolder);
    if (!read) throw new MeshError('ERR_CONFIG', `the certificate authority in ${this.#pluggedFolder} is gone`);
    if (sameMaterial(read, this.#material)) return false;
    const [before, now] = [rootSet(this.#material), rootSet(read)];
    const [smaller, larger] = before.size < now.size ? [before, now] : [now, before];
    if (!this.#multiRoot && (smaller.size !== larger.size || !isSubset(smaller, larger))) {
      throw new MeshError('ERR_CONFIG', 'another root needs ISTIO_MULTIROOT_MESH, or a restart');
    }
    if (!isSubset(smaller, larger)) {
      throw new MeshError('ERR_CONFIG', 'neither the old nor the new roots contain the others: add first, then remove');
    }
    this.#use(read);
    return true;
  }

  /**
   * Signs a workload certificate for these SPIFFE ids. `ttlSeconds` of 0 or less means the default.
   * @returns leaf, intermediates, and last the root bundle; one PEM text each, ending with a line feed
   * Throws ERR_LIMIT when the lifetime is above the maximum, ERR_CA when the signer itself has expired.
   */
  issue(publicKeyDer: Uint8Array, spiffeIds: readonly string[], ttlSeconds: number): readonly string[] {
    const wanted = ttlSeconds <= 0 ? DEFAULT_WORKLOAD_TTL_SECONDS : ttlSeconds;
    if (wanted > MAX_WORKLOAD_TTL_SECONDS) {
      throw new MeshError(
        'ERR_LIMIT',
        `requested TTL ${wanted} s is greater than the maximum ${MAX_WORKLOAD_TTL_SECONDS} s`,
      );
    }
    const leaf = this.#sign(publicKeyDer, { uris: spiffeIds }, wanted * 1_000);
    return [leaf.pem, ...this.#intermediates(), withLineFeed(this.#material.rootsPem)];
  }

  /** A key and certificate for a server of the control plane, valid for a year at most. Throws ERR_CA. */
  async issueServer(dnsNames: readonly string[], ips: readonly string[] = []): Promise<ServerCertificate> {
    const key = await PrivateKey.generate();
    const addresses = ips.map(ipBytes).filter((bytes) => bytes !== undefined);
    const leaf = this.#sign(key.publicKeyDer, { dnsNames, ips: addresses }, SERVER_LIFETIME_MS);
    return { key, certChainPem: [leaf.pem, ...this.#intermediates()].join(''), notAfterMs: leaf.notAfterMs };
  }

  /**
   * Renews a self-made root in the last fifth of its life, with the same key, so that old and new certificates check
   * against either; a root that another replica has renewed is taken over. Call it now and then; answers whether the
   * root is another now. Plugged files are the operator's.
   */
  async renewRootIfDue(): Promise<boolean> {
    const keeper = this.#keeper;
    if (keeper === undefined) return false;
    const kept = (await keeper.read()) ?? this.#material;
    const taken = kept.rootsPem !== this.#material.rootsPem || kept.certPem !== this.#material.certPem;
    if (taken) this.#use(kept);
    const { notBeforeMs, notAfterMs } = this.#certificate;
    const nowMs = this.#clock.nowMs();
    if (nowMs < notAfterMs - (notAfterMs - notBeforeMs) * RENEW_FRACTION) return taken;
    this.#use(await keeper.replace(kept, await selfSignedRoot(this.#material.key, this.trustDomain, nowMs)));
    return true;
  }

  /** Changes nothing when the set does not fit together. */
  #use(material: CaMaterial): void {
    this.#certificate = checkMaterial(material);
    this.#material = material;
  }

  #sign(publicKeyDer: Uint8Array, names: SubjectNames, lifetimeMs: number): { pem: string; notAfterMs: number } {
    const nowMs = this.#clock.nowMs();
    const { notAfterMs: signerEndMs, subject, subjectKeyIdentifier } = this.#certificate;
    if (signerEndMs <= nowMs) throw new MeshError('ERR_CA', 'the signing certificate has expired');
    const notAfterMs = Math.min(nowMs + lifetimeMs, signerEndMs);
    const signer: Signer = {
      key: this.#material.key,
      subject,
      ...(subjectKeyIdentifier && { keyIdentifier: subjectKeyIdentifier }),
    };
    const template = { publicKeyDer, names, notBeforeMs: nowMs - BACKDATE_MS, notAfterMs, isCa: false };
    return { pem: buildCertificate(template, signer), notAfterMs };
  }

  #intermediates(): string[] {
    return parsePem(this.#material.chainPem, CERTIFICATE).map((der) => toPem(der, CERTIFICATE));
  }
}

/** The signer's certificate, after the set was found to fit together. Throws ERR_CONFIG. */
function checkMaterial({ certPem, key, chainPem, rootsPem }: CaMaterial): Certificate {
  const refuse = (reason: string): never => {
    throw new MeshError('ERR_CONFIG', `certificate authority: ${reason}`);
  };
  const [certificate] = parsePem(certPem, CERTIFICATE).map(parseCertificate);
  if (!certificate) return refuse('the signing certificate is missing');
  if (!certificate.isCa || !certificate.maySign) refuse('the signing certificate is not one of an authority');
  if (!key.publicKeyDer.equals(certificate.publicKeyDer)) refuse('the key does not belong to the signing certificate');
  const roots = parsePem(rootsPem, CERTIFICATE).map(parseCertificate);
  if (roots.length === 0) refuse('there is no root certificate');
  let current = certificate;
  const above = [...parsePem(chainPem, CERTIFICATE).map(parseCertificate), ...roots];
  for (let depth = 0; depth <= above.length; depth += 1) {
    if (roots.some((root) => isSignedBy(current.der, root.publicKeyDer))) return certificate;
    const issuer = above.find((other) => other !== current && isSignedBy(current.der, other.publicKeyDer));
    if (!issuer) break;
    current = issuer;
  }
  return refuse('the signing certificate does not lead to a root');
}

function sameMaterial(a: CaMaterial, b: CaMaterial): boolean {
  const textOf = ({ certPem, key, chainPem, rootsPem, crlPem = '' }: CaMaterial) =>
    [certPem, key.reveal(), chainPem, rootsPem, crlPem].join('\0');
  return textOf(a) === textOf(b);
}

function isSubset(smaller: ReadonlySet<string>, larger: ReadonlySet<string>): boolean {
  return [...smaller].every((one) => larger.has(one));
}

function rootSet({ rootsPem }: CaMaterial): Set<string> {
  return new Set(parsePem(rootsPem, CERTIFICATE).map((der) => der.toString('base64')));
}

function withLineFeed(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}

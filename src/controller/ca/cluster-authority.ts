/**
 * An authority whose certificates a signer of the cluster signs. Source: Istio control plane (EXTERNAL_CA
 * `ISTIOD_RA_KUBERNETES_API`, K8S_SIGNER, CERT_SIGNER_DOMAIN).
 *
 * Invariants
 *  - A signer certifies what the request says: a request for other names than the caller may have is refused first.
 *  - What comes back is checked: the caller's key, the caller's identity and nothing else, and a chain to a root.
 */
import type { Clock } from '../../core/clock.ts';
import { MeshError } from '../../core/errors.ts';
import type { ClusterSigner } from '../../kube/index.ts';
import { ipBytes } from '../../model/ip-bytes.ts';
import {
  buildCertificateRequest,
  CERTIFICATE,
  type Certificate,
  leadsToRoot,
  PrivateKey,
  parseCertificate,
  parsePem,
  parseTrustBundle,
  type ServerCertificate,
  type SigningRequest,
  toPem,
} from '../../pki/index.ts';
import type { ControlPlaneAuthority } from './control-plane-authority.ts';

export interface ClusterAuthorityOptions {
  readonly sign: ClusterSigner;
  /** Signs when the caller names none. Empty: callers must name one. */
  readonly signerName: string;
  /** Prefix of the signers that callers may name: `domain/name`. Empty: none may be named. */
  readonly signerDomain: string;
  readonly rootsPem: string;
  readonly clock: Clock;
}

const DEFAULT_TTL_SECONDS = 24 * 3_600;
const MAX_TTL_SECONDS = 90 * 24 * 3_600;
const SERVER_TTL_SECONDS = 365 * 24 * 3_600;
const SIGNER_NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;

export class ClusterAuthority implements ControlPlaneAuthority {
  readonly rootsPem: string;
  readonly crlPem = undefined;
  readonly #options: ClusterAuthorityOptions;

  /** Throws ERR_CONFIG when the roots cannot be read. */
  constructor(options: ClusterAuthorityOptions) {
    this.#options = options;
    this.rootsPem = options.rootsPem.endsWith('\n') ? options.rootsPem : `${options.rootsPem}\n`;
    if (parsePem(this.rootsPem, CERTIFICATE).length === 0) {
      throw new MeshError('ERR_CONFIG', 'the roots of the cluster signer hold no certificate');
    }
  }

  get notAfterMs(): number {
    return Math.min(...parsePem(this.rootsPem, CERTIFICATE).map((der) => parseCertificate(der).notAfterMs));
  }

  async issue(
    publicKeyDer: Uint8Array,
    spiffeIds: readonly string[],
    ttlSeconds: number,
    request: SigningRequest,
  ): Promise<readonly string[]> {
    if (ttlSeconds > MAX_TTL_SECONDS) {
      throw new MeshError(
        'ERR_LIMIT',
        `requested TTL ${ttlSeconds} s is greater than the maximum ${MAX_TTL_SECONDS} s`,
      );
    }
    if (!sameNames(request.uriNames, spiffeIds)) {
      throw new MeshError('ERR_MALFORMED', 'the request names another identity than the caller may have');
    }
    const chain = await this.#options.sign({
      csrPem: request.csrPem,
      signerName: this.#signerFor(request.certSigner),
      ttlSeconds: ttlSeconds <= 0 ? DEFAULT_TTL_SECONDS : ttlSeconds,
    });
    const certificates = parsePem(chain, CERTIFICATE).map(parseCertificate);
    const [leaf] = certificates;
    if (!leaf || !Buffer.from(leaf.publicKeyDer).equals(publicKeyDer)) {
      throw new MeshError('ERR_CA', 'the signer certified another key');
    }
    if (leaf.isCa || leaf.dnsNames.length > 0 || !sameNames(leaf.uriNames, spiffeIds)) {
      throw new MeshError('ERR_CA', 'the signer certified other names');
    }
    this.#requireRoot(certificates);
    return [...certificates.map(({ der }) => toPem(der, CERTIFICATE)), this.rootsPem];
  }

  async issueServer(dnsNames: readonly string[], ips: readonly string[] = []): Promise<ServerCertificate> {
    const key = await PrivateKey.generate();
    const addresses = ips.map(ipBytes).filter((bytes) => bytes !== undefined);
    const csrPem = buildCertificateRequest({ dnsNames, ips: addresses }, key);
    const signerName = this.#signerFor(undefined);
    const certChainPem = await this.#options.sign({ csrPem, signerName, ttlSeconds: SERVER_TTL_SECONDS });
    const certificates = parsePem(certChainPem, CERTIFICATE).map(parseCertificate);
    this.#requireRoot(certificates);
    return { key, certChainPem, notAfterMs: Math.min(...certificates.map(({ notAfterMs }) => notAfterMs)) };
  }

  async renewRootIfDue(): Promise<boolean> {
    return false;
  }

  #signerFor(asked: string | undefined): string {
    const { signerName, signerDomain } = this.#options;
    if (asked === undefined && signerName !== '') return signerName;
    if (asked === undefined || signerDomain === '' || !SIGNER_NAME.test(asked)) {
      throw new MeshError('ERR_MALFORMED', `no signer ${asked ?? 'is named'}: see K8S_SIGNER and CERT_SIGNER_DOMAIN`);
    }
    return `${signerDomain}/${asked}`;
  }

  #requireRoot(chain: readonly Certificate[]): void {
    if (leadsToRoot(chain, parseTrustBundle(this.rootsPem), this.#options.clock.nowMs())) return;
    throw new MeshError(
      'ERR_CA',
      'what the signer made does not lead to the configured root: see EXTERNAL_CA_CERT_DIR',
    );
  }
}

function sameNames(given: readonly string[], wanted: readonly string[]): boolean {
  return given.length === wanted.length && given.every((name, index) => name === wanted[index]);
}

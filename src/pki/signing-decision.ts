/**
 * Who may get a certificate for whom, and the certificate: the signing service without its transport.
 *
 * Invariants
 *  - An unauthenticated caller learns nothing but that.
 *  - On behalf of a workload only a trusted node account may ask, and only for an account of a pod on its own node.
 * Source: Istio CA server, order of checks and texts included.
 */
import { MeshError } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import type { Authenticator, Caller, CallerCredentials } from '../model/caller.ts';
import { type Identity, identityUri, parseIdentity } from '../model/identity.ts';
import { type CertificateRequest, parseCertificateRequest } from './certificate-request.ts';
import type { CertificateCall } from './citadel-codec.ts';

export interface NodeAuthorizer {
  /**
   * Whether `caller` may ask for `requested`. All must hold: the caller's pod exists by name and namespace, has the UID
   * and service account of the token, and on that pod's node there is a pod (not failed) of the requested namespace and
   * account. A rejection counts as no.
   */
  mayImpersonate(caller: Caller, requested: Identity): Promise<boolean>;
}

/** What was asked for, for authorities that pass the request on. */
export interface SigningRequest extends CertificateRequest {
  readonly csrPem: string;
  /** Which signer the caller wants. */
  readonly certSigner: string | undefined;
}

export interface WorkloadSigner {
  /**
   * Certifies the key for these SPIFFE ids, and for nothing else. `ttlSeconds` of 0 or less means the default.
   * @returns leaf, intermediates, and last the root bundle; one PEM text each, ending with a line feed
   * Throws or rejects with ERR_LIMIT or ERR_MALFORMED for what the caller did, ERR_CA for anything else.
   */
  issue(
    publicKeyDer: Uint8Array,
    spiffeIds: readonly string[],
    ttlSeconds: number,
    request: SigningRequest,
  ): readonly string[] | Promise<readonly string[]>;
}

export interface SigningDeps {
  readonly authority: WorkloadSigner;
  readonly authenticator: Authenticator;
  readonly nodes: NodeAuthorizer;
  /** `namespace/account` of node tunnels; empty: nobody asks on behalf of others. */
  readonly trustedNodeAccounts: ReadonlySet<string>;
  readonly log: Logger;
  /** Counts calls by how they ended. */
  readonly onCall?: (result: SigningResult['kind']) => void;
}

export type SigningResult =
  | { readonly kind: 'issued'; readonly certChain: readonly string[] }
  | { readonly kind: 'unauthenticated'; readonly message: string }
  | { readonly kind: 'invalid'; readonly message: string }
  | { readonly kind: 'failed'; readonly message: string };

const NOT_AUTHENTICATED = 'request authenticate failure';
const NOT_IMPERSONATED = 'request impersonation authentication failure';

/** Answers one call; expected refusals are values. */
export async function signCertificate(
  call: CertificateCall,
  credentials: CallerCredentials,
  deps: SigningDeps,
): Promise<SigningResult> {
  const result = await decide(call, credentials, deps);
  deps.onCall?.(result.kind);
  return result;
}

async function decide(
  call: CertificateCall,
  credentials: CallerCredentials,
  deps: SigningDeps,
): Promise<SigningResult> {
  const { log } = deps;
  const caller = await orUndefined(deps.authenticator.authenticate(credentials), log);
  if (!caller) return { kind: 'unauthenticated', message: NOT_AUTHENTICATED };
  const identity = await allowedIdentity(call, caller, deps);
  const account = `${caller.namespace}/${caller.serviceAccount}`;
  if (!identity) {
    log.warn('impersonation refused', { caller: account, requested: call.impersonatedIdentity });
    return { kind: 'unauthenticated', message: NOT_IMPERSONATED };
  }
  let request: CertificateRequest;
  try {
    request = parseCertificateRequest(call.csrPem);
  } catch (error) {
    return refused('invalid', error, log);
  }
  try {
    const asked: SigningRequest = { ...request, csrPem: call.csrPem, certSigner: call.certSigner };
    const certChain = await deps.authority.issue(request.publicKeyDer, [identity], call.validitySeconds, asked);
    log.debug('certificate issued', { caller: account, identity });
    return { kind: 'issued', certChain };
  } catch (error) {
    const isCallers = error instanceof MeshError && (error.code === 'ERR_LIMIT' || error.code === 'ERR_MALFORMED');
    return refused(isCallers ? 'invalid' : 'failed', error, log);
  }
}

/** The SPIFFE id to certify; undefined when the caller may not have it. */
async function allowedIdentity(call: CertificateCall, caller: Caller, deps: SigningDeps): Promise<string | undefined> {
  if (call.impersonatedIdentity === undefined) return identityUri(caller);
  if (!deps.trustedNodeAccounts.has(`${caller.namespace}/${caller.serviceAccount}`)) return undefined;
  const requested = parseIdentity(call.impersonatedIdentity);
  if (!requested || !isPlainIdentity(requested)) return undefined;
  return (await orUndefined(deps.nodes.mayImpersonate(caller, requested), deps.log))
    ? identityUri(requested)
    : undefined;
}

/** Nothing empty and nothing outside printable ASCII goes into a name that we sign. */
function isPlainIdentity({ trustDomain, namespace, serviceAccount }: Identity): boolean {
  return [trustDomain, namespace, serviceAccount].every((part) => /^[\x21-\x7e]{1,253}$/.test(part));
}

async function orUndefined<T>(promise: Promise<T>, log: Logger): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    log.warn('authentication failed', { error });
    return undefined;
  }
}

function refused(kind: 'invalid' | 'failed', error: unknown, log: Logger): SigningResult {
  if (!(error instanceof MeshError)) throw error;
  log.warn('certificate refused', { error: error.message });
  return { kind, message: `CSR signing error (${error.message})` };
}

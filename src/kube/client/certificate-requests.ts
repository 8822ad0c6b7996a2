/**
 * Has certificates signed by a signer of the cluster: makes a CertificateSigningRequest, approves it, waits for the
 * certificate and removes the request. Source: Kubernetes certificates.k8s.io/v1.
 *
 * Requests under way are bounded, and none waits longer than `SIGNED_WITHIN_MS`.
 */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../core/clock.ts';
import { MeshError } from '../../core/errors.ts';
import { type ApiAnswer, type ApiClient, refusal } from './api-client.ts';

export interface SigningOrder {
  readonly csrPem: string;
  readonly signerName: string;
  readonly ttlSeconds: number;
}

/** Resolves with the PEM chain, leaf first. Rejects with ERR_LIMIT or ERR_CA. */
export type ClusterSigner = (order: SigningOrder) => Promise<string>;

const ROOT = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const USAGES = ['digital signature', 'key encipherment', 'server auth', 'client auth'];
/** The API server takes no less. */
const MIN_TTL_SECONDS = 600;
const MAX_UNDER_WAY = 64;
const SIGNED_WITHIN_MS = 15_000;
const FIRST_LOOK_MS = 50;
const MAX_LOOK_MS = 500;

interface RequestStatus {
  readonly certificate?: string;
  readonly conditions?: readonly { readonly type?: string; readonly message?: string }[];
}

export function clusterSigner(api: ApiClient, clock: Clock): ClusterSigner {
  let underWay = 0;
  return async (order) => {
    if (underWay >= MAX_UNDER_WAY)
      throw new MeshError('ERR_LIMIT', `${MAX_UNDER_WAY} certificate requests are under way`);
    underWay += 1;
    const path = `${ROOT}/csr-workload-${randomBytes(10).toString('hex')}`;
    try {
      return await signed(order, path, { api, clock });
    } finally {
      underWay -= 1;
      await api.callPatiently({ method: 'DELETE', path }).catch(() => undefined); // the cluster removes old ones
    }
  };
}

async function signed(
  { csrPem, signerName, ttlSeconds }: SigningOrder,
  path: string,
  { api, clock }: { readonly api: ApiClient; readonly clock: Clock },
): Promise<string> {
  const object = {
    ...{ apiVersion: 'certificates.k8s.io/v1', kind: 'CertificateSigningRequest' },
    metadata: { name: path.slice(ROOT.length + 1), annotations: { 'culvert.dev/requested-by': 'istiod' } },
    spec: {
      ...{ request: Buffer.from(csrPem).toString('base64'), signerName, usages: USAGES },
      expirationSeconds: Math.max(MIN_TTL_SECONDS, ttlSeconds),
    },
  };
  const contentType = 'application/json';
  const made = required(await api.callPatiently({ method: 'POST', path: ROOT, body: object, contentType }));
  const conditions = [
    { type: 'Approved', status: 'True', reason: 'IdentityChecked', message: 'the caller may have this identity' },
  ];
  const approved = { ...(made as object), status: { conditions } };
  required(await api.callPatiently({ method: 'PUT', path: `${path}/approval`, body: approved, contentType }));
  const untilMs = clock.monotonicMs() + SIGNED_WITHIN_MS;
  for (let waitMs = FIRST_LOOK_MS; clock.monotonicMs() < untilMs; waitMs = Math.min(MAX_LOOK_MS, waitMs * 2)) {
    await clock.sleep(waitMs);
    const { status = {} } = required(await api.callPatiently({ method: 'GET', path })) as { status?: RequestStatus };
    if (status.certificate) return Buffer.from(status.certificate, 'base64').toString('utf8');
    const bad = status.conditions?.find(({ type }) => type === 'Denied' || type === 'Failed');
    if (bad) throw new MeshError('ERR_CA', `signer ${signerName}: ${bad.type}: ${bad.message ?? ''}`);
  }
  throw new MeshError(
    'ERR_CA',
    `signer ${signerName} signed nothing in ${SIGNED_WITHIN_MS} ms; is its controller running?`,
  );
}

function required(answer: ApiAnswer): unknown {
  if (answer.status >= 200 && answer.status < 300) return answer.body;
  throw new MeshError('ERR_CA', `certificate request: ${refusal(answer)}`);
}

/**
 * A signer of the cluster as an operator would run one: signs approved CertificateSigningRequests of its name. The
 * signers that come with Kubernetes certify no workloads: none of them allows client and server use together.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { ApiClient } from '../../src/kube/index.ts';
import { selfSignedRoot } from '../../src/pki/ca-files.ts';
import { buildCertificate, nameDer } from '../../src/pki/certificate-builder.ts';
import { parseCertificateRequest } from '../../src/pki/certificate-request.ts';
import { PrivateKey } from '../../src/pki/index.ts';

interface SigningRequestObject {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly request: string; readonly signerName: string; readonly expirationSeconds: number };
  readonly status?: { readonly certificate?: string; readonly conditions?: readonly { readonly type: string }[] };
}

const PATH = '/apis/certificates.k8s.io/v1/certificatesigningrequests';

export interface CustomSigner extends AsyncDisposable {
  readonly rootPem: string;
  /** Names that were signed. */
  readonly signed: readonly string[];
}

/** @param serverNames what a request that names no identity is certified for */
export async function startCustomSigner(
  api: ApiClient,
  signerName: string,
  serverNames: readonly string[],
): Promise<CustomSigner> {
  const key = await PrivateKey.generate();
  const { rootsPem } = await selfSignedRoot(key, 'signer', Date.now());
  const stop = new AbortController();
  const signed: string[] = [];
  const sign = ({ spec }: SigningRequestObject): string => {
    const { publicKeyDer, uriNames } = parseCertificateRequest(Buffer.from(spec.request, 'base64').toString());
    const names = uriNames.length > 0 ? { uris: uriNames } : { dnsNames: serverNames };
    const nowMs = Date.now();
    const times = { notBeforeMs: nowMs - 60_000, notAfterMs: nowMs + spec.expirationSeconds * 1_000 };
    signed.push(uriNames[0] ?? 'server');
    return buildCertificate({ publicKeyDer, names, isCa: false, ...times }, { key, subject: nameDer('signer') });
  };
  const running = (async () => {
    while (!stop.signal.aborted) {
      const { body } = await api.callPatiently({ method: 'GET', path: PATH });
      for (const object of (body as { items: readonly SigningRequestObject[] }).items) {
        const approved = object.status?.conditions?.some(({ type }) => type === 'Approved') === true;
        if (object.spec.signerName !== signerName || !approved || object.status?.certificate) continue;
        const certificate = Buffer.from(sign(object)).toString('base64');
        const answered = { ...object, status: { ...object.status, certificate } };
        const path = `${PATH}/${object.metadata.name}/status`;
        await api.callPatiently({ method: 'PUT', path, body: answered, contentType: 'application/json' });
      }
      await delay(50);
    }
  })();
  return {
    ...{ rootPem: rootsPem, signed },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

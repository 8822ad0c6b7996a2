/** Messages of the certificate signing service. Source: Istio citadel proto, package istio.v1.auth. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { errorMessage, MeshError } from '../core/errors.ts';
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '../gen/citadel_pb.js';

export const CREATE_CERTIFICATE_PATH = '/istio.v1.auth.IstioCertificateService/CreateCertificate';
const IMPERSONATED_IDENTITY = 'ImpersonatedIdentity';

export interface CertificateCall {
  readonly csrPem: string;
  readonly validitySeconds: number;
  /** The SPIFFE id of the workload the certificate is for; undefined: the caller's own. */
  readonly impersonatedIdentity: string | undefined;
}

export function encodeCertificateCall({ csrPem, validitySeconds, impersonatedIdentity }: CertificateCall): Buffer {
  const message = create(IstioCertificateRequestSchema, {
    csr: csrPem,
    validityDuration: BigInt(Math.trunc(validitySeconds)),
    ...(impersonatedIdentity !== undefined && { metadata: { [IMPERSONATED_IDENTITY]: impersonatedIdentity } }),
  });
  return Buffer.from(toBinary(IstioCertificateRequestSchema, message));
}

/** Throws ERR_MALFORMED. */
export function decodeCertificateCall(bytes: Uint8Array): CertificateCall {
  return decoding(() => {
    const message = fromBinary(IstioCertificateRequestSchema, bytes);
    const impersonated = message.metadata?.[IMPERSONATED_IDENTITY];
    if (impersonated !== undefined && typeof impersonated !== 'string') {
      throw new MeshError('ERR_MALFORMED', `${IMPERSONATED_IDENTITY} is not a string`);
    }
    return {
      csrPem: message.csr,
      validitySeconds: Number(message.validityDuration),
      impersonatedIdentity: impersonated || undefined,
    };
  });
}

export function encodeCertificateAnswer(certChain: readonly string[]): Buffer {
  const message = create(IstioCertificateResponseSchema, { certChain: [...certChain] });
  return Buffer.from(toBinary(IstioCertificateResponseSchema, message));
}

/** Throws ERR_MALFORMED. */
export function decodeCertificateAnswer(bytes: Uint8Array): readonly string[] {
  return decoding(() => fromBinary(IstioCertificateResponseSchema, bytes).certChain);
}

function decoding<T>(decode: () => T): T {
  try {
    return decode();
  } catch (cause) {
    if (cause instanceof MeshError) throw cause;
    throw new MeshError('ERR_MALFORMED', `failed to decode: ${errorMessage(cause)}`, { cause });
  }
}

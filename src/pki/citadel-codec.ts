/** Messages of the certificate signing service. Source: Istio citadel proto, package istio.v1.auth. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { errorMessage, MeshError } from '../core/errors.ts';
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '../gen/citadel_pb.js';

export const CREATE_CERTIFICATE_PATH = '/istio.v1.auth.IstioCertificateService/CreateCertificate';
const IMPERSONATED_IDENTITY = 'ImpersonatedIdentity';
const CERT_SIGNER = 'CertSigner';

export interface CertificateCall {
  readonly csrPem: string;
  readonly validitySeconds: number;
  /** The SPIFFE id of the workload the certificate is for; undefined: the caller's own. */
  readonly impersonatedIdentity: string | undefined;
  /** Which of several signers shall sign; undefined: the usual one. */
  readonly certSigner?: string | undefined;
}

export function encodeCertificateCall(call: CertificateCall): Buffer {
  const { csrPem, validitySeconds, impersonatedIdentity, certSigner } = call;
  const metadata = {
    ...(impersonatedIdentity === undefined ? {} : { [IMPERSONATED_IDENTITY]: impersonatedIdentity }),
    ...(certSigner === undefined ? {} : { [CERT_SIGNER]: certSigner }),
  };
  const message = create(IstioCertificateRequestSchema, {
    csr: csrPem,
    validityDuration: BigInt(Math.trunc(validitySeconds)),
    ...(Object.keys(metadata).length > 0 && { metadata }),
  });
  return Buffer.from(toBinary(IstioCertificateRequestSchema, message));
}

/** Throws ERR_MALFORMED. */
export function decodeCertificateCall(bytes: Uint8Array): CertificateCall {
  return decoding(() => {
    const message = fromBinary(IstioCertificateRequestSchema, bytes);
    const textOf = (name: string): string | undefined => {
      const value = message.metadata?.[name];
      if (value === undefined || typeof value === 'string') return value || undefined;
      throw new MeshError('ERR_MALFORMED', `${name} is not a string`);
    };
    return {
      csrPem: message.csr,
      validitySeconds: Number(message.validityDuration),
      impersonatedIdentity: textOf(IMPERSONATED_IDENTITY),
      certSigner: textOf(CERT_SIGNER),
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

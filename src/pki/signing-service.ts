/** The signing service on a gRPC server: reads credentials and message, answers with status or certificates. */
import {
  type handleUnaryCall,
  type Server,
  type ServiceDefinition,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { errorMessage } from '../core/errors.ts';
import { type CallerCredentials, toCallerCredentials } from '../model/caller.ts';
import { CREATE_CERTIFICATE_PATH, decodeCertificateCall, encodeCertificateAnswer } from './citadel-codec.ts';
import { type SigningDeps, type SigningResult, signCertificate } from './signing-decision.ts';

const STATUS = {
  unauthenticated: status.UNAUTHENTICATED,
  invalid: status.INVALID_ARGUMENT,
  failed: status.INTERNAL,
} as const satisfies Record<Exclude<SigningResult['kind'], 'issued'>, status>;

/** Messages pass as bytes: a request that cannot be decoded is an answer of ours, not of the transport. */
const DEFINITION: ServiceDefinition = {
  CreateCertificate: {
    path: CREATE_CERTIFICATE_PATH,
    requestStream: false,
    responseStream: false,
    requestSerialize: (bytes: Buffer) => bytes,
    requestDeserialize: (bytes: Buffer) => bytes,
    responseSerialize: (bytes: Buffer) => bytes,
    responseDeserialize: (bytes: Buffer) => bytes,
  },
};

/** Adds `IstioCertificateService` to a server that its owner binds and closes. */
export function addSigningService(server: Server, deps: SigningDeps): void {
  const createCertificate: handleUnaryCall<Buffer, Buffer> = (call, callback) => {
    answer(
      call.request,
      toCallerCredentials((name) => call.metadata.get(name)),
      deps,
    ).then(
      (result) => {
        if (result.kind === 'issued') callback(null, encodeCertificateAnswer(result.certChain));
        else callback({ code: STATUS[result.kind], details: result.message });
      },
      (error: unknown) => {
        deps.log.error('signing call failed', { error: errorMessage(error) });
        callback({ code: status.INTERNAL, details: 'internal error' });
      },
    );
  };
  const implementation: UntypedServiceImplementation = { CreateCertificate: createCertificate };
  server.addService(DEFINITION, implementation);
}

async function answer(bytes: Buffer, credentials: CallerCredentials, deps: SigningDeps): Promise<SigningResult> {
  try {
    return await signCertificate(decodeCertificateCall(bytes), credentials, deps);
  } catch (error) {
    return { kind: 'invalid', message: errorMessage(error) };
  }
}

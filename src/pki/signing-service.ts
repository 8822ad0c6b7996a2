/**
 * The signing service on a gRPC server: reads credentials and message, answers with status or certificates.
 *
 * The call is unary on the wire. It is taken as a stream of requests, so that nothing of a message is read, let alone
 * buffered, before its caller has been authenticated.
 */
import {
  type handleClientStreamingCall,
  type Server,
  type ServerReadableStream,
  type ServiceDefinition,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { errorMessage } from '../core/errors.ts';
import { toCallerCredentials } from '../model/caller.ts';
import {
  type CertificateCall,
  CREATE_CERTIFICATE_PATH,
  decodeCertificateCall,
  encodeCertificateAnswer,
} from './citadel-codec.ts';
import { type SigningDeps, type SigningResult, signCertificate } from './signing-decision.ts';

type Call = ServerReadableStream<Buffer, Buffer>;

const STATUS = {
  unauthenticated: status.UNAUTHENTICATED,
  invalid: status.INVALID_ARGUMENT,
  failed: status.INTERNAL,
} as const satisfies Record<Exclude<SigningResult['kind'], 'issued'>, status>;
const MAX_MESSAGE_BYTES = 64 * 1024;
const NOTHING_ASKED: CertificateCall = { csrPem: '', validitySeconds: 0, impersonatedIdentity: undefined };

/** Messages pass as bytes: a request that cannot be decoded is an answer of ours, not of the transport. */
const sameBytes = (bytes: Buffer): Buffer => bytes;
const DEFINITION: ServiceDefinition = {
  CreateCertificate: {
    path: CREATE_CERTIFICATE_PATH,
    requestStream: true,
    responseStream: false,
    requestSerialize: sameBytes,
    requestDeserialize: sameBytes,
    responseSerialize: sameBytes,
    responseDeserialize: sameBytes,
  },
};

/** Adds `IstioCertificateService` to a server that its owner binds and closes. */
export function addSigningService(server: Server, deps: SigningDeps): void {
  const createCertificate: handleClientStreamingCall<Buffer, Buffer> = (call, callback) => {
    call.on('error', () => undefined); // a caller that goes away gets no answer
    answer(call, deps).then(
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

async function answer(call: Call, deps: SigningDeps): Promise<SigningResult> {
  const credentials = toCallerCredentials((name) => call.metadata.get(name));
  const authentication = deps.authenticator.authenticate(credentials);
  const known = { ...deps, authenticator: { authenticate: () => authentication } };
  const caller = await authentication.catch(() => undefined); // logged and refused by the decision
  if (!caller) return signCertificate(NOTHING_ASKED, credentials, known);
  let message: CertificateCall;
  try {
    message = decodeCertificateCall(await onlyMessage(call));
  } catch (error) {
    deps.onCall?.('invalid');
    return { kind: 'invalid', message: errorMessage(error) };
  }
  return signCertificate(message, credentials, known);
}

/** The one message of a unary call. Rejects when there is none, a second one, or a large one. */
function onlyMessage(call: Call): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  let message: Buffer | undefined;
  call.on('data', (bytes: Buffer) => {
    if (message !== undefined) reject(new Error('more than one message'));
    if (bytes.length > MAX_MESSAGE_BYTES) reject(new Error(`message of ${bytes.length} bytes`));
    message = bytes;
  });
  call.on('end', () => (message ? resolve(message) : reject(new Error('no message'))));
  call.on('error', reject);
  call.on('cancelled', () => reject(new Error('the call was cancelled')));
  return promise;
}

/**
 * Certificates by the control plane's signing service.
 *
 * Each call makes a fresh key and sends a request for it; the answer is checked before anybody sees it.
 * A channel lives until its root certificates change or its server cannot be reached: the next call then tries anew
 * and does not sit out the channel's own back-off.
 */
import { type Client, type ServiceError, status } from '@grpc/grpc-js';
import { errorMessage, MeshError } from '../core/errors.ts';
import { callMetadata, type GrpcEndpoint, openGrpcClient, readText } from '../core/grpc-endpoint.ts';
import { type Identity, identityUri } from '../model/identity.ts';
import { buildCertificateRequest } from './certificate-builder.ts';
import type { CertificateSource } from './certificate-source.ts';
import { CREATE_CERTIFICATE_PATH, decodeCertificateAnswer, encodeCertificateCall } from './citadel-codec.ts';
import { PrivateKey } from './private-key.ts';
import { Svid } from './svid.ts';

export interface SigningClientOptions {
  readonly endpoint: GrpcEndpoint;
  /** 86 400 by default of the programs. */
  readonly ttlSeconds: number;
  /** Ask on behalf of workloads (one tunnel for a node); else the certificate is the caller's own. */
  readonly impersonate: boolean;
  /** Longest wait for one answer. */
  readonly callTimeoutMs?: number;
}

const DEFAULT_CALL_TIMEOUT_MS = 10_000;
const identityBytes = (bytes: Buffer): Buffer => bytes;

export class SigningClient implements CertificateSource, AsyncDisposable {
  readonly #options: SigningClientOptions;
  #channel: { readonly client: Client; readonly roots: string } | undefined;
  #opening: Promise<Client> | undefined;

  constructor(options: SigningClientOptions) {
    this.#options = options;
  }

  async fetch(identity: Identity, signal: AbortSignal): Promise<Svid> {
    const { endpoint, ttlSeconds, impersonate } = this.#options;
    try {
      const [client, metadata, key] = await Promise.all([
        this.#client(),
        callMetadata(endpoint),
        PrivateKey.generate(),
      ]);
      const request = encodeCertificateCall({
        csrPem: buildCertificateRequest({ uris: [identityUri(identity)] }, key),
        validitySeconds: ttlSeconds,
        impersonatedIdentity: impersonate ? identityUri(identity) : undefined,
      });
      const answer = await this.#call(client, request, metadata, signal);
      return Svid.parse(identity, key, decodeCertificateAnswer(answer));
    } catch (cause) {
      if (isUnavailable(cause)) this.#closeChannel();
      if (cause instanceof MeshError && cause.code === 'ERR_CA') throw cause;
      throw new MeshError('ERR_CA', `signing request failed: ${errorMessage(cause)}`, { cause });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closeChannel();
  }

  #closeChannel(): void {
    this.#channel?.client.close();
    this.#channel = undefined;
  }

  #call(client: Client, request: Buffer, metadata: Awaited<ReturnType<typeof callMetadata>>, signal: AbortSignal) {
    return new Promise<Buffer>((resolve, reject) => {
      if (signal.aborted) return reject(new MeshError('ERR_CA', 'the signing request was given up'));
      const options = { deadline: Date.now() + (this.#options.callTimeoutMs ?? DEFAULT_CALL_TIMEOUT_MS) };
      const onAbort = (): void => call.cancel();
      const done = (error: ServiceError | null, answer?: Buffer): void => {
        signal.removeEventListener('abort', onAbort);
        if (error || !answer) reject(error ?? new MeshError('ERR_CA', 'the signing service gave no answer'));
        else resolve(answer);
      };
      const path = CREATE_CERTIFICATE_PATH;
      const call = client.makeUnaryRequest(path, identityBytes, identityBytes, request, metadata, options, done);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** One opening at a time: callers that arrive together share it. */
  #client(): Promise<Client> {
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #open(): Promise<Client> {
    const { endpoint } = this.#options;
    const roots = endpoint.roots === undefined ? '' : await readText(endpoint.roots, 'root certificates');
    if (this.#channel?.roots === roots) return this.#channel.client;
    const client = await openGrpcClient(
      endpoint.roots === undefined ? endpoint : { ...endpoint, roots: { text: roots } },
    );
    this.#channel?.client.close();
    this.#channel = { client, roots };
    return client;
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === status.UNAVAILABLE;
}

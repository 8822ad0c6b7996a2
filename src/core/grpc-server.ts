/**
 * A gRPC server with server-auth TLS. The services are added by their owners; callers are authenticated per call.
 */
import { experimental, Server, ServerCredentials } from '@grpc/grpc-js';
import { MeshError } from './errors.ts';

/** What the server proves itself with; the leaf comes first. */
export interface ServerPair {
  readonly privateKeyPem: string;
  readonly certChainPem: string;
}

export interface GrpcServerOptions extends ServerPair {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Serves the same in plain text there besides. */
  readonly plaintextPort?: number | undefined;
}

export interface GrpcServer extends AsyncDisposable {
  readonly port: number;
  readonly plaintextPort: number | undefined;
  /** New connections see this pair; open ones go on. */
  replacePair(pair: ServerPair): void;
}

/**
 * A reconnecting subscriber names everything it has, about 80 bytes each: room for 800 000 resources. Services read a
 * message after they have authenticated its sender.
 */
const MAX_RECEIVE_BYTES = 64 * 1024 * 1024;
/** Calls may end within this time at shutdown; streams never do by themselves and are cut then. */
const SHUTDOWN_MS = 250;

/** A server that does not listen yet: add services, then start it. */
export function createGrpcServer(): Server {
  return new Server({
    'grpc.max_receive_message_length': MAX_RECEIVE_BYTES,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': 100_000,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
  });
}

/** Listens. Rejects with ERR_SYSTEM when the port is taken; disposing ends all calls. */
export async function startGrpcServer(server: Server, options: GrpcServerOptions): Promise<GrpcServer> {
  const { host, port, plaintextPort } = options;
  const pairs = new PairProvider(options);
  const secure = experimental.createCertificateProviderServerCredentials(pairs, null, false);
  const bound = await bind(server, addressOf(host, port), secure);
  const plaintext =
    plaintextPort === undefined
      ? undefined
      : await bind(server, addressOf(host, plaintextPort), ServerCredentials.createInsecure());
  return {
    ...{ port: bound, plaintextPort: plaintext },
    replacePair: (pair) => pairs.replace(pair),
    [Symbol.asyncDispose]: () => stop(server),
  };
}

function addressOf(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function bind(server: Server, address: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, credentials, (cause, bound) => {
      if (cause) reject(new MeshError('ERR_SYSTEM', `cannot listen on ${address}`, { cause }));
      else resolve(bound);
    });
  });
}

type PairListener = Parameters<experimental.CertificateProvider['addIdentityCertificateListener']>[0];

/** Hands the current pair to the server's listener, and every later one. */
class PairProvider implements experimental.CertificateProvider {
  readonly #listeners = new Set<PairListener>();
  #pair: ServerPair;

  constructor(pair: ServerPair) {
    this.#pair = pair;
  }

  replace(pair: ServerPair): void {
    this.#pair = pair;
    for (const listener of this.#listeners) this.#tell(listener);
  }

  addIdentityCertificateListener(listener: PairListener): void {
    this.#listeners.add(listener);
    queueMicrotask(() => this.#tell(listener)); // the server listens to its credentials only after this call
  }

  removeIdentityCertificateListener(listener: PairListener): void {
    this.#listeners.delete(listener);
  }

  addCaCertificateListener(): void {}

  removeCaCertificateListener(): void {}

  #tell(listener: PairListener): void {
    const { certChainPem, privateKeyPem } = this.#pair;
    listener({ certificate: Buffer.from(certChainPem), privateKey: Buffer.from(privateKeyPem) });
  }
}

function stop(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.forceShutdown(), SHUTDOWN_MS);
    server.tryShutdown(() => {
      clearTimeout(cut);
      resolve();
    });
  });
}

/**
 * A gRPC server with server-auth TLS. The services are added by their owners; callers are authenticated per call.
 */
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { MeshError } from './errors.ts';

export interface GrpcServerOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly privateKeyPem: string;
  readonly certChainPem: string;
}

export interface GrpcServer extends AsyncDisposable {
  readonly port: number;
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
  const { host, privateKeyPem, certChainPem } = options;
  const pair = { private_key: Buffer.from(privateKeyPem), cert_chain: Buffer.from(certChainPem) };
  const address = `${host.includes(':') ? `[${host}]` : host}:${options.port}`;
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createSsl(null, [pair], false), (cause, bound) => {
      if (cause) reject(new MeshError('ERR_SYSTEM', `cannot listen on ${address}`, { cause }));
      else resolve(bound);
    });
  });
  return { port, [Symbol.asyncDispose]: () => stop(server) };
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

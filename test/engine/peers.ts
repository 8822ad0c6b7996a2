/** Applications and raw HBONE peers for the tests, on plain node:net and node:http2: none of the product's own code. */

import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  createSecureServer,
  type Http2SecureServer,
  type ServerHttp2Stream,
} from 'node:http2';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { TlsCredentials } from '../../src/engine/index.ts';

export interface Application extends AsyncDisposable {
  readonly port: number;
  readonly sockets: Socket[];
}

/** A TCP server on loopback that hands every connection to `serve`. */
export async function startApplication(serve: (socket: Socket) => void): Promise<Application> {
  const sockets: Socket[] = [];
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    serve(socket);
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1_024 });
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

export const echo = (socket: Socket): void => {
  socket.pipe(socket);
};

/** Connects as an application does. */
export async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** Everything until FIN. Rejects when the connection ends in another way. */
export async function readAll(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  await new Promise<void>((resolve, reject) => {
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.once('end', resolve);
    stream.once('error', reject);
    stream.once('close', () => reject(new Error('closed before the end')));
  });
  return Buffer.concat(chunks);
}

/** Resolves with the errno name of the end, or `end` for FIN, or `close`. */
export function howItEnds(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
    socket.once('end', () => resolve('end'));
    socket.once('close', () => resolve('close'));
    socket.resume();
  });
}

export interface RawServer extends AsyncDisposable {
  readonly port: number;
  readonly server: Http2SecureServer;
}

/** An HBONE server without any check of its own. */
export async function startRawServer(
  credentials: Pick<TlsCredentials, 'privateKeyPem' | 'certChainPem' | 'rootsPem'>,
  onStream: (stream: ServerHttp2Stream, headers: Record<string, unknown>) => void,
  settings: { readonly maxConcurrentStreams?: number } = {},
): Promise<RawServer> {
  const server = createSecureServer({
    key: credentials.privateKeyPem,
    cert: credentials.certChainPem,
    ca: credentials.rootsPem,
    requestCert: true,
    rejectUnauthorized: false,
    settings,
  });
  const open = new Set<{ destroy(): void }>();
  server.on('session', (session) => {
    open.add(session);
    session.once('close', () => open.delete(session));
  });
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    onStream(stream, headers);
  });
  server.on('sessionError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    server,
    async [Symbol.asyncDispose]() {
      for (const session of open) session.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A client session that trusts any server; `credentials` absent: without a certificate. */
export async function openRawSession(
  port: number,
  credentials?: Pick<TlsCredentials, 'privateKeyPem' | 'certChainPem' | 'rootsPem'>,
): Promise<ClientHttp2Session> {
  const session = connectHttp2(`https://127.0.0.1:${port}`, {
    rejectUnauthorized: false,
    ...(credentials && { key: credentials.privateKeyPem, cert: credentials.certChainPem }),
  });
  session.on('error', () => {});
  await Promise.race([once(session, 'connect'), once(session, 'close')]);
  return session;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly stream: ClientHttp2Stream;
}

/** Sends one request, CONNECT unless told otherwise. Rejects when the stream closes without an answer. */
export async function request(
  session: ClientHttp2Session,
  authority: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const stream = session.request({ ':method': 'CONNECT', ':authority': authority, ...headers }, { endStream: false });
  stream.on('error', () => {});
  return new Promise((resolve, reject) => {
    stream.once('response', (answer) => resolve({ status: Number(answer[':status']), headers: answer, stream }));
    stream.once('close', () => reject(new Error('no answer')));
  });
}

/** RST_STREAM and nothing before it: close() alone sends END_STREAM first, an orderly end. */
export function resetStream(stream: ServerHttp2Stream, code: number): void {
  stream._final = (done) => done();
  stream.close(code);
}

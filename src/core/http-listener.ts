/**
 * Small HTTP/1.1 servers of a program: admin, metrics, readiness.
 *
 * Guarantees: headers have to arrive within 2 s and fit 8 KiB, a body is never read, at most 100 connections at a time,
 * and a handler that throws answers 500 instead of ending the program.
 */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { errorMessage, MeshError } from './errors.ts';

export interface HttpAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

export interface HttpQuestion {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
}

export type HttpHandler = (question: HttpQuestion) => HttpAnswer | Promise<HttpAnswer>;

export interface HttpListener extends AsyncDisposable {
  readonly port: number;
}

const HEADERS_TIMEOUT_MS = 2_000;
const HEADERS_BYTES_MAX = 8 * 1_024;
const CONNECTIONS_MAX = 100;

export function textAnswer(status: number, body: string): HttpAnswer {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8' }, body };
}

/** Listens on TCP; rejects with ERR_SYSTEM when the port is taken. Disposing ends open requests. */
export async function serveHttp(
  address: { readonly host: string; readonly port: number },
  handler: HttpHandler,
): Promise<HttpListener> {
  const server = createServer(
    { maxHeaderSize: HEADERS_BYTES_MAX, headersTimeout: HEADERS_TIMEOUT_MS },
    (request, response) => {
      request.resume();
      answer(request, handler).then(
        ({ status, headers, body }) => response.writeHead(status, headers ?? {}).end(body),
        (error: unknown) => response.writeHead(500).end(`${errorMessage(error)}\n`),
      );
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const message = `failed to bind to address ${address.host}:${address.port}: ${cause.message}`;
      reject(new MeshError('ERR_SYSTEM', message, { cause }));
    });
    server.listen(address.port, address.host, resolve);
  });
  server.on('error', () => {}); // accept failures (EMFILE) must not end the program
  return {
    port: (server.address() as AddressInfo).port, // a TCP server that listens has one
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(request: IncomingMessage, handler: HttpHandler): Promise<HttpAnswer> {
  const { method = 'GET', url = '/', headers } = request;
  if (!URL.canParse(url, 'http://localhost')) return textAnswer(400, 'bad request\n');
  const { pathname, searchParams } = new URL(url, 'http://localhost');
  return handler({ method, path: pathname, query: searchParams, headers });
}

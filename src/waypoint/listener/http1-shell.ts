/**
 * The HTTP/1.1 server on tunnel streams: one `node:http` server for all, each tunnel handed to it as a connection.
 * Limits are Envoy's: 60 KiB and 100 lines of headers. Requests that could be understood in two ways are refused by the
 * parser, which is never the lenient one.
 */
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import type { Downstream } from '../http/downstream.ts';
import { HeaderList } from '../http/header-list.ts';
import type { ServeRequest, TunnelContext } from './tunnel-context.ts';

const MAX_HEADER_BYTES = 60 * 1024;
const MAX_HEADER_LINES = 100;
/** A client may take so long for its head, and between requests. */
const HEAD_TIMEOUT_MS = 60_000;
const IDLE_TIMEOUT_MS = 3_600_000;

export class Http1Shell {
  readonly #server: Server;
  readonly #serve: ServeRequest;
  readonly #contexts = new WeakMap<object, TunnelContext>();
  readonly #malformed: (context: TunnelContext | undefined, code: string) => void;
  #draining = false;

  constructor(serve: ServeRequest, malformed: (context: TunnelContext | undefined, code: string) => void) {
    this.#serve = serve;
    this.#malformed = malformed;
    this.#server = createServer({
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEAD_TIMEOUT_MS,
      requestTimeout: 0, // a body may take as long as its route allows
      keepAliveTimeout: IDLE_TIMEOUT_MS,
      insecureHTTPParser: false,
      requireHostHeader: true,
      joinDuplicateHeaders: false,
      connectionsCheckingInterval: 10_000,
    });
    this.#server.maxHeadersCount = 0; // counted below: the server would drop what is over
    this.#server.on('request', (request, response) => this.#onRequest(request, response, false));
    this.#server.on('checkContinue', (request, response) => this.#onRequest(request, response, true));
    this.#server.on('checkExpectation', (_request, response) => {
      response.writeHead(417, { connection: 'close' });
      response.end();
    });
    this.#server.on('upgrade', (request, socket, first) => this.#onUpgrade(request, socket, first));
    this.#server.on('connect', (_request, socket) => {
      socket.end('HTTP/1.1 405 Method Not Allowed\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
    });
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#onClientError(error, socket));
  }

  /** Owns the stream. */
  accept(stream: Duplex, context: TunnelContext): void {
    this.#contexts.set(stream, context);
    this.#server.emit('connection', stream);
  }

  /** Answers from now on ask clients to close. An idle connection waits for its next request: closing it could meet one. */
  drain(): void {
    this.#draining = true;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const context = this.#contexts.get(request.socket);
    if (!context) return void response.destroy();
    const downstream = new Http1Downstream(request, response, expectsContinue);
    this.#dispatch(request, downstream, context);
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, first: Buffer): void {
    const context = this.#contexts.get(socket);
    if (!context) return void socket.destroy();
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket as never); // a duplex has what a response uses of a socket
    response.once('finish', () => {
      if (response.statusCode !== 101) socket.end();
    });
    const downstream = new Http1Downstream(request, response, false, { socket, first });
    this.#dispatch(request, downstream, context);
  }

  #dispatch(request: IncomingMessage, downstream: Http1Downstream, context: TunnelContext): void {
    if (this.#draining) downstream.closeAfter();
    const headers = HeaderList.fromRaw(request.rawHeaders);
    if (headers.count > MAX_HEADER_LINES) {
      this.#malformed(context, 'HPE_HEADER_OVERFLOW');
      downstream.closeAfter();
      downstream.sendHead(431, new HeaderList(['content-length', '0']), true);
      return;
    }
    const authority = headers.get('host') ?? '';
    headers.delete('host');
    this.#serve(context, downstream, { method: request.method ?? '', target: request.url ?? '', authority, headers });
  }

  #onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
    const code = error.code ?? '';
    if (code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
    this.#malformed(this.#contexts.get(socket), code);
    const status = code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : statusOf(code);
    socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
  }
}

function statusOf(code: string): string {
  return code === 'ERR_HTTP_REQUEST_TIMEOUT' ? '408 Request Timeout' : '400 Bad Request';
}

function isBodiless({ method }: IncomingMessage, status: number): boolean {
  return method === 'HEAD' || status === 204 || status === 304;
}

class Http1Downstream implements Downstream {
  readonly protocol = 'HTTP/1.1';
  readonly body: Readable | undefined;
  readonly expectsContinue: boolean;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #switching: { readonly socket: Duplex; readonly first: Buffer } | undefined;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    expectsContinue: boolean,
    switching?: { readonly socket: Duplex; readonly first: Buffer },
  ) {
    this.#request = request;
    this.#response = response;
    this.expectsContinue = expectsContinue;
    this.#switching = switching;
    const { 'content-length': length, 'transfer-encoding': coding } = request.headers;
    const hasBody = coding !== undefined || (length !== undefined && length !== '0');
    this.body = hasBody && !switching ? request : undefined;
    response.sendDate = false; // the endpoint's own is passed on
    response.on('error', () => {}); // seen by its close
    request.on('error', () => {});
  }

  trailers(): HeaderList | undefined {
    const { rawTrailers } = this.#request;
    return rawTrailers.length > 0 ? HeaderList.fromRaw(rawTrailers) : undefined;
  }

  closeAfter(): void {
    this.#response.shouldKeepAlive = false;
  }

  sendContinue(): void {
    if (!this.#response.headersSent) this.#response.writeContinue();
  }

  sendInterim(status: number, headers: HeaderList): void {
    if (this.#response.headersSent || status === 100) return;
    const links = headers.all('link');
    if (status === 103 && links.length > 0) this.#response.writeEarlyHints({ link: [...links] });
  }

  sendHead(status: number, headers: HeaderList, end: boolean): void {
    const response = this.#response;
    if (response.headersSent || response.destroyed) return;
    // trailers need chunks: a length, or no body at all, leaves none
    if (headers.has('trailer') && (end || headers.has('content-length') || isBodiless(this.#request, status))) {
      headers.delete('trailer');
    }
    response.writeHead(status, headers.flat as string[]);
    if (end) response.end();
    else if (status === 101) response.flushHeaders();
  }

  write(chunk: Uint8Array): boolean {
    return this.#response.write(chunk);
  }

  end(trailers?: HeaderList): void {
    if (trailers && this.#response.chunkedEncoding)
      this.#response.addTrailers([...trailers].map(([name, value]): [string, string] => [name, value]));
    this.#response.end();
  }

  reset(): void {
    this.#response.destroy();
    this.#request.socket?.destroy();
  }

  onDrain(listener: () => void): void {
    this.#response.on('drain', listener);
  }

  onAbort(listener: () => void): void {
    this.#response.once('close', () => {
      if (!this.#response.writableFinished) listener();
    });
  }

  get headSent(): boolean {
    return this.#response.headersSent;
  }

  upgraded(): Duplex | undefined {
    if (!this.#switching) return undefined;
    const { socket, first } = this.#switching;
    this.#response.detachSocket(socket as never); // as it was assigned
    if (first.length > 0) socket.unshift(first);
    return socket;
  }
}

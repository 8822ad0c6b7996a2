/** HTTP/1.1 to an endpoint by undici's own dispatch: no request or response object in between. */
import type { Duplex } from 'node:stream';
import { type Dispatcher, errors, Pool } from 'undici';
import { HeaderList } from '../http/header-list.ts';
import { type UpstreamCall, UpstreamError, type UpstreamHandler, type UpstreamRequest } from './upstream-call.ts';

export interface Http1PoolOptions {
  readonly dial: () => Promise<Duplex>;
  /** 0: unlimited. */
  readonly maxConnections: number;
  readonly maxRequestsPerConnection: number;
  readonly idleTimeoutMs: number;
}

/** Connections to one port of one endpoint. The owner closes it. */
export function openHttp1Pool(options: Http1PoolOptions): Pool {
  const { dial, maxConnections, maxRequestsPerConnection, idleTimeoutMs } = options;
  return new Pool('http://endpoint.invalid', {
    connections: maxConnections === 0 ? null : maxConnections,
    pipelining: 1,
    keepAliveTimeout: idleTimeoutMs,
    keepAliveMaxTimeout: idleTimeoutMs,
    keepAliveTimeoutThreshold: 0,
    headersTimeout: 0, // timeouts are the route's
    bodyTimeout: 0,
    allowH2: false,
    ...(maxRequestsPerConnection === 0 ? {} : { maxRequestsPerClient: maxRequestsPerConnection }),
    connect: (_options, callback) => {
      dial().then(
        (stream) => callback(null, stream as never), // undici wants a socket and uses what every duplex has
        (error: Error) => callback(new DialError(error), null),
      );
    },
  });
}

/** Marks failures to connect, before anything was sent. */
class DialError extends Error {
  constructor(cause: Error) {
    super(cause.message, { cause });
  }
}

export function callHttp1(pool: Pool, request: UpstreamRequest, handler: UpstreamHandler): UpstreamCall {
  const call = new Http1Call(request, handler);
  const { method, target, authority, headers, body } = request;
  try {
    pool.dispatch(
      {
        method: method as Dispatcher.HttpMethod,
        path: target,
        headers: ['host', authority, ...headers.flat],
        body: body ?? null,
      },
      call,
    );
  } catch (error) {
    call.onResponseError(undefined, error as Error);
  }
  return call;
}

class Http1Call implements Dispatcher.DispatchHandler, UpstreamCall {
  readonly #request: UpstreamRequest;
  readonly #handler: UpstreamHandler;
  #controller: Dispatcher.DispatchController | undefined;
  #isOver = false;

  constructor(request: UpstreamRequest, handler: UpstreamHandler) {
    this.#request = request;
    this.#handler = handler;
  }

  resume(): void {
    this.#controller?.resume();
  }

  abort(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const reason = new Error('given up');
    this.#request.body?.destroy();
    if (this.#controller) this.#controller.abort(reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#isOver) controller.abort(new Error('given up'));
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (this.#isOver) return;
    const headers = toHeaders(controller);
    if (status < 200) this.#handler.onInterim(status, headers);
    else this.#handler.onHead(status, headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#isOver) return;
    if (!this.#handler.onData(chunk)) controller.pause();
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const raw = (controller as { rawTrailers?: readonly (Buffer | string)[] | null }).rawTrailers ?? [];
    this.#handler.onEnd(raw.length > 0 ? fromRaw(raw) : undefined);
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#handler.onError(toUpstreamError(error));
  }
}

function toHeaders(controller: Dispatcher.DispatchController): HeaderList {
  return fromRaw((controller as { rawHeaders?: readonly (Buffer | string)[] | null }).rawHeaders ?? []);
}

function fromRaw(raw: readonly (Buffer | string)[]): HeaderList {
  const flat = new Array<string>(raw.length);
  for (let i = 0; i < raw.length; i += 2) {
    flat[i] = text(raw[i]).toLowerCase();
    flat[i + 1] = text(raw[i + 1]);
  }
  return new HeaderList(flat);
}

function text(value: Buffer | string | undefined): string {
  return typeof value === 'string' ? value : (value?.toString('latin1') ?? '');
}

function toUpstreamError(error: Error): UpstreamError {
  if (error instanceof DialError) return new UpstreamError('remote_connection_failure', error, true);
  if (error instanceof errors.SocketError) return new UpstreamError('connection_termination', error);
  return new UpstreamError('remote_reset', error);
}

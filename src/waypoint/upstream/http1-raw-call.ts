/**
 * HTTP/1.1 by `node:http` for what undici refuses: `expect: 100-continue`, trailers of a request, upgrades. One
 * connection for each, as such requests are few and an upgraded connection belongs to nobody else.
 */
import { type ClientRequest, type IncomingMessage, request as openRequest, type RequestOptions } from 'node:http';
import type { Duplex } from 'node:stream';
import { HeaderList } from '../http/header-list.ts';
import { type UpstreamCall, UpstreamError, type UpstreamHandler, type UpstreamRequest } from './upstream-call.ts';

export interface RawCallHandler extends UpstreamHandler {
  /** The endpoint has switched protocols: what follows are bytes. The receiver owns the stream. */
  onUpgrade(status: number, headers: HeaderList, stream: Duplex, first: Buffer): void;
}

export function callHttp1Raw(
  dial: () => Promise<Duplex>,
  request: UpstreamRequest,
  handler: RawCallHandler,
): UpstreamCall {
  const call = new RawCall(request, handler);
  dial().then(
    (stream) => call.begin(stream),
    (error: unknown) => call.fail(new UpstreamError('remote_connection_failure', error, true)),
  );
  return call;
}

class RawCall implements UpstreamCall {
  readonly #request: UpstreamRequest;
  readonly #handler: RawCallHandler;
  #outgoing: ClientRequest | undefined;
  #answer: IncomingMessage | undefined;
  #isOver = false;

  constructor(request: UpstreamRequest, handler: RawCallHandler) {
    this.#request = request;
    this.#handler = handler;
  }

  /** Owns the stream. */
  begin(stream: Duplex): void {
    try {
      this.#start(stream);
    } catch (error) {
      // a header that may not be sent
      stream.destroy();
      this.fail(new UpstreamError('remote_reset', error, true));
    }
  }

  #start(stream: Duplex): void {
    if (this.#isOver) return void stream.destroy();
    const { method, target, body, trailers, expectsContinue, upgrade } = this.#request;
    const handler = this.#handler;
    const outgoing = openRequest({
      method,
      path: target,
      headers: toFlat(this.#request) as unknown as Record<string, string>, // a flat list is taken as well
      createConnection: () => stream,
      setHost: false,
      setDefaultHeaders: false,
    } as RequestOptions);
    this.#outgoing = outgoing;
    outgoing.on('continue', () => handler.onContinue());
    outgoing.on('information', ({ statusCode, rawHeaders }) => {
      if (statusCode !== 100 && !this.#isOver) handler.onInterim(statusCode, HeaderList.fromRaw(rawHeaders));
    });
    outgoing.on('upgrade', (answer, socket, first) => {
      if (this.#isOver) return void socket.destroy();
      this.#isOver = true;
      handler.onUpgrade(answer.statusCode ?? 101, HeaderList.fromRaw(answer.rawHeaders), socket, first);
    });
    outgoing.on('response', (answer) => this.#onAnswer(answer, stream));
    outgoing.on('error', (error) => this.fail(new UpstreamError('connection_termination', error)));
    if (!body) {
      outgoing.end();
      return;
    }
    if (expectsContinue || upgrade) outgoing.flushHeaders();
    body.on('data', (chunk: Buffer) => {
      if (!outgoing.write(chunk)) body.pause();
    });
    outgoing.on('drain', () => body.resume());
    body.once('end', () => {
      const last = trailers();
      if (last) outgoing.addTrailers([...last].map(([name, value]): [string, string] => [name, value]));
      outgoing.end();
    });
    body.once('error', () => this.abort());
  }

  resume(): void {
    this.#answer?.resume();
  }

  abort(): void {
    this.#isOver = true;
    this.#outgoing?.destroy();
  }

  fail(error: UpstreamError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#handler.onError(error);
  }

  #onAnswer(answer: IncomingMessage, stream: Duplex): void {
    if (this.#isOver) return;
    this.#answer = answer;
    const handler = this.#handler;
    handler.onHead(answer.statusCode ?? 0, HeaderList.fromRaw(answer.rawHeaders));
    answer.on('data', (chunk: Buffer) => {
      if (!this.#isOver && !handler.onData(chunk)) answer.pause();
    });
    answer.once('end', () => {
      if (this.#isOver) return;
      this.#isOver = true;
      handler.onEnd(answer.rawTrailers.length > 0 ? HeaderList.fromRaw(answer.rawTrailers) : undefined);
      stream.destroy();
    });
    answer.once('error', (error) => this.fail(new UpstreamError('connection_termination', error)));
  }
}

/** As they are sent: what was taken off as ending at us is said anew for this connection. */
function toFlat({ authority, headers, body, expectsContinue }: UpstreamRequest): readonly string[] {
  const flat = ['host', authority, ...headers.flat];
  if (expectsContinue) flat.push('expect', '100-continue');
  if (body && !headers.has('content-length')) flat.push('transfer-encoding', 'chunked');
  return flat;
}

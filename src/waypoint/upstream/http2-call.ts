/** HTTP/2 to an endpoint: sessions with prior knowledge, one stream for each call. Source: RFC 9113. */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import { SessionPool } from '../../hbone/index.ts';
import { HeaderList } from '../http/header-list.ts';
import { type UpstreamCall, UpstreamError, type UpstreamHandler, type UpstreamRequest } from './upstream-call.ts';

const STREAM_WINDOW_BYTES = 1024 * 1024;
const CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024;
const DEFAULT_MAX_STREAMS = 100;
const HEADER_LIST_BYTES = 65_536;
const POOL_KEY = 'endpoint';

export interface Http2PoolOptions {
  readonly dial: () => Promise<Duplex>;
  /** 0: the default. */
  readonly maxConcurrentStreams: number;
  readonly idleTimeoutMs: number;
}

/** Sessions to one port of one endpoint. The owner drains or destroys it. */
export class Http2Pool {
  readonly #sessions: SessionPool<ClientHttp2Session>;
  readonly #dial: () => Promise<ClientHttp2Session>;

  constructor({ dial, maxConcurrentStreams, idleTimeoutMs }: Http2PoolOptions) {
    this.#sessions = new SessionPool({
      maxStreamsPerSession: maxConcurrentStreams || DEFAULT_MAX_STREAMS,
      idleTimeoutMs,
    });
    this.#dial = async () => openSession(await dial());
  }

  call(request: UpstreamRequest, handler: UpstreamHandler): UpstreamCall {
    const call = new Http2Call(request, handler);
    this.#sessions.lease(POOL_KEY, this.#dial).then(
      (lease) => call.start(lease.session, () => lease[Symbol.dispose]()),
      (error: unknown) => call.fail(new UpstreamError('remote_connection_failure', error, true)),
    );
    return call;
  }

  drain(): void {
    this.#sessions.drain();
  }

  destroy(): void {
    this.#sessions.destroy();
  }
}

function openSession(transport: Duplex): ClientHttp2Session {
  const session = connect('http://endpoint.invalid', {
    createConnection: () => transport,
    settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES, maxHeaderListSize: HEADER_LIST_BYTES },
  });
  session.on('error', () => {}); // streams tell their own failure
  session.once('connect', () => session.setLocalWindowSize(CONNECTION_WINDOW_BYTES));
  return session;
}

class Http2Call implements UpstreamCall {
  readonly #request: UpstreamRequest;
  readonly #handler: UpstreamHandler;
  #stream: ClientHttp2Stream | undefined;
  #trailers: HeaderList | undefined;
  #hasEnded = false;
  #isOver = false;

  constructor(request: UpstreamRequest, handler: UpstreamHandler) {
    this.#request = request;
    this.#handler = handler;
  }

  start(session: ClientHttp2Session, release: () => void): void {
    if (this.#isOver) {
      release();
      return;
    }
    const { body, trailers } = this.#request;
    let stream: ClientHttp2Stream;
    try {
      stream = session.request(toOutgoing(this.#request), { endStream: !body, waitForTrailers: body !== undefined });
    } catch (error) {
      release();
      this.fail(new UpstreamError('remote_connection_failure', error, true));
      return;
    }
    this.#stream = stream;
    stream.once('close', () => {
      release();
      if (this.#hasEnded) return;
      const code = stream.rstCode;
      if (code === constants.NGHTTP2_REFUSED_STREAM) this.fail(new UpstreamError('remote_reset', 'refused', true));
      else this.fail(new UpstreamError('remote_reset', `the endpoint reset the stream (${code})`));
    });
    stream.on('error', () => {}); // seen by its close
    this.#listen(stream);
    if (!body) return;
    body.on('data', (chunk: Buffer) => {
      if (!stream.write(chunk)) body.pause();
    });
    stream.on('drain', () => body.resume());
    body.once('end', () => stream.end());
    body.once('error', () => this.abort());
    stream.once('wantTrailers', () => {
      const last = trailers(); // none: an empty DATA frame ends the stream
      stream.sendTrailers(last ? toObject(last) : {});
    });
  }

  resume(): void {
    this.#stream?.resume();
  }

  abort(): void {
    this.#isOver = true;
    this.#stream?.close(constants.NGHTTP2_CANCEL);
  }

  fail(error: UpstreamError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#handler.onError(error);
  }

  #listen(stream: ClientHttp2Stream): void {
    const handler = this.#handler;
    stream.on('continue', () => handler.onContinue());
    stream.on('headers', (headers, _flags, raw: readonly string[] | undefined) => {
      if (!this.#isOver) handler.onInterim(statusOf(headers), toHeaderList(raw ?? []));
    });
    stream.once('trailers', (_headers, _flags, raw: readonly string[] | undefined) => {
      this.#trailers = toHeaderList(raw ?? []);
    });
    // the body is read from here on: its first bytes can be there a tick before the head is told
    stream.once('response', (headers, _flags, raw: readonly string[] | undefined) => {
      if (this.#isOver) return;
      handler.onHead(statusOf(headers), toHeaderList(raw ?? []));
      stream.on('data', (chunk: Buffer) => {
        if (!this.#isOver && !handler.onData(chunk)) stream.pause();
      });
      stream.once('end', () => {
        const isWhole = stream.rstCode === undefined || stream.rstCode === constants.NGHTTP2_NO_ERROR;
        if (!isWhole) return;
        this.#hasEnded = true;
        // the end can be told a tick before trailers are
        if (this.#trailers) this.#end();
        else setImmediate(() => this.#end());
      });
    });
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#handler.onEnd(this.#trailers);
  }
}

function statusOf(headers: IncomingHttpHeaders): number {
  return Number((headers as Record<string, unknown>)[':status'] ?? 0);
}

/** Without pseudo headers. */
function toHeaderList(raw: readonly string[]): HeaderList {
  const flat: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (!raw[i]?.startsWith(':')) flat.push(raw[i] as string, raw[i + 1] as string);
  }
  return new HeaderList(flat);
}

function toOutgoing({ method, target, authority, headers }: UpstreamRequest): OutgoingHttpHeaders {
  return { ':method': method, ':scheme': 'http', ':path': target, ':authority': authority, ...toObject(headers) };
}

export function toObject(headers: HeaderList): Record<string, string | string[]> {
  const object: Record<string, string | string[]> = Object.create(null);
  for (const [name, value] of headers) {
    const before = object[name];
    if (before === undefined) object[name] = value;
    else if (Array.isArray(before)) before.push(value);
    else object[name] = [before, value];
  }
  return object;
}

/**
 * The HTTP/2 server on tunnel streams (prior knowledge). Limits keep a flood of streams, resets or headers from one
 * client its own problem.
 */
import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Duplex, Readable } from 'node:stream';
import type { Downstream } from '../http/downstream.ts';
import { HeaderList } from '../http/header-list.ts';
import { toObject } from '../upstream/http2-call.ts';
import type { ServeRequest, TunnelContext } from './tunnel-context.ts';

const SETTINGS = {
  maxConcurrentStreams: 100,
  initialWindowSize: 1024 * 1024,
  maxHeaderListSize: 60 * 1024,
  enableConnectProtocol: false,
} as const;
const CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024;
const MAX_HEADER_LINES = 100;
/** As Node's own defaults for servers that face clients they do not know. */
const GUARDS = { streamResetBurst: 1_000, streamResetRate: 33, maxSessionInvalidFrames: 100 } as const;

export class Http2Shell {
  readonly #serve: ServeRequest;
  readonly #malformed: (context: TunnelContext, code: string) => void;
  readonly #sessions = new Set<ServerHttp2Session>();

  constructor(serve: ServeRequest, malformed: (context: TunnelContext, code: string) => void) {
    this.#serve = serve;
    this.#malformed = malformed;
  }

  /** Owns the stream. */
  accept(transport: Duplex, context: TunnelContext): void {
    const session = performServerHandshake(transport as never, { settings: SETTINGS, ...GUARDS });
    this.#sessions.add(session);
    session.once('close', () => this.#sessions.delete(session));
    session.on('error', (error: NodeJS.ErrnoException) => this.#malformed(context, error.code ?? ''));
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    session.on('stream', (stream, _headers, _flags, raw: readonly string[]) => this.#onStream(stream, raw, context));
  }

  /** GOAWAY to every client; open streams go on. */
  drain(): void {
    for (const session of this.#sessions) session.close();
  }

  close(): void {
    for (const session of this.#sessions) session.destroy();
  }

  #onStream(stream: ServerHttp2Stream, raw: readonly string[], context: TunnelContext): void {
    stream.on('error', () => {}); // seen by its close
    const pseudo = new Map<string, string>();
    const flat: string[] = [];
    for (let i = 0; i + 1 < raw.length; i += 2) {
      const name = raw[i] as string;
      if (name.startsWith(':')) pseudo.set(name, raw[i + 1] as string);
      else flat.push(name, raw[i + 1] as string);
    }
    const headers = new HeaderList(flat);
    const method = pseudo.get(':method') ?? '';
    const downstream = new Http2Downstream(stream);
    if (headers.count > MAX_HEADER_LINES || method === 'CONNECT') {
      const status = method === 'CONNECT' ? 405 : 431;
      downstream.sendHead(status, new HeaderList(['content-length', '0']), true);
      return;
    }
    const authority = pseudo.get(':authority') ?? headers.get('host') ?? '';
    headers.delete('host');
    this.#serve(context, downstream, { method, target: pseudo.get(':path') ?? '', authority, headers });
  }
}

class Http2Downstream implements Downstream {
  readonly protocol = 'HTTP/2';
  readonly body: Readable | undefined;
  readonly expectsContinue = false;
  readonly #stream: ServerHttp2Stream;
  #trailers: HeaderList | undefined;
  #answered = false;

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
    this.body = stream.endAfterHeaders ? undefined : stream;
    stream.on('trailers', (_headers, _flags, raw: readonly string[] | undefined) => {
      this.#trailers = new HeaderList([...(raw ?? [])]);
    });
  }

  trailers(): HeaderList | undefined {
    return this.#trailers;
  }

  sendContinue(): void {}

  sendInterim(status: number, headers: HeaderList): void {
    if (this.headSent || this.#stream.destroyed || status === 101) return;
    this.#stream.additionalHeaders({ ':status': status, ...toObject(headers) });
  }

  sendHead(status: number, headers: HeaderList, end: boolean): void {
    const stream = this.#stream;
    if (stream.destroyed || stream.headersSent) return;
    stream.respond({ ':status': status, ...toObject(headers) }, { endStream: end, waitForTrailers: !end });
    if (end) this.#answered = true;
  }

  write(chunk: Uint8Array): boolean {
    return this.#stream.write(chunk);
  }

  end(trailers?: HeaderList): void {
    const stream = this.#stream;
    this.#answered = true;
    if (stream.destroyed) return;
    stream.once('wantTrailers', () => stream.sendTrailers(trailers ? toObject(trailers) : {}));
    stream.end();
  }

  reset(): void {
    this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }

  onDrain(listener: () => void): void {
    this.#stream.on('drain', listener);
  }

  onAbort(listener: () => void): void {
    this.#stream.once('close', () => {
      if (!this.#answered || this.#stream.rstCode !== constants.NGHTTP2_NO_ERROR) listener();
    });
  }

  closeAfter(): void {
    this.#stream.session?.close(); // GOAWAY: what is open goes on
  }

  get headSent(): boolean {
    return this.#stream.headersSent;
  }
}

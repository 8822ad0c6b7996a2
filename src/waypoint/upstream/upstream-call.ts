/** One try of a request at one endpoint, whichever version of HTTP the endpoint speaks. */
import type { Readable } from 'node:stream';
import type { HeaderList } from '../http/header-list.ts';
import type { UpstreamFailure } from '../http/reply.ts';

export interface UpstreamRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly authority: string;
  readonly headers: HeaderList;
  /** Read with pressure and destroyed with the call; undefined: no body. */
  readonly body: Readable | undefined;
  /** Trailers of the request, asked when the body has ended. */
  readonly trailers: () => HeaderList | undefined;
  /** What undici does not carry: see `http1-raw-call.ts`. */
  readonly expectsContinue: boolean;
  readonly upgrade: boolean;
}

export interface UpstreamHandler {
  /** The endpoint waits for the body. */
  onContinue(): void;
  onInterim(status: number, headers: HeaderList): void;
  onHead(status: number, headers: HeaderList): void;
  /** False: the call pauses until `resume`. */
  onData(chunk: Uint8Array): boolean;
  onEnd(trailers: HeaderList | undefined): void;
  /** The last event, before or after the head. */
  onError(error: UpstreamError): void;
}

export interface UpstreamCall {
  resume(): void;
  /** Gives up; no event follows. */
  abort(): void;
}

export class UpstreamError extends Error {
  override readonly name = 'UpstreamError';
  readonly failure: UpstreamFailure;
  /** The endpoint has certainly not seen the request. */
  readonly notSent: boolean;

  constructor(failure: UpstreamFailure, cause: unknown, notSent = false) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.failure = failure;
    this.notSent = notSent;
  }
}

/** The client's side of one exchange, whichever version of HTTP it speaks. Shells implement it; filters never see it. */
import type { Duplex, Readable } from 'node:stream';
import type { HeaderList } from './header-list.ts';

export interface Downstream {
  readonly protocol: 'HTTP/1.1' | 'HTTP/2';
  /** Undefined when the request has no body. Owned by the shell; whoever reads it respects its pressure. */
  readonly body: Readable | undefined;
  /** Trailers of the request; complete when the body has ended. */
  trailers(): HeaderList | undefined;
  /** The client waits for leave to send its body (`expect: 100-continue`). */
  readonly expectsContinue: boolean;
  sendContinue(): void;
  /** Early hints and the like. */
  sendInterim(status: number, headers: HeaderList): void;
  /** Once. With `end` nothing follows. */
  sendHead(status: number, headers: HeaderList, end: boolean): void;
  /** False: wait for `onDrain` before more. */
  write(chunk: Uint8Array): boolean;
  end(trailers?: HeaderList): void;
  /** Ends the exchange as broken: the client must not take what it has for a whole answer. */
  reset(): void;
  onDrain(listener: () => void): void;
  /** The client is gone before the exchange was over. */
  onAbort(listener: () => void): void;
  readonly headSent: boolean;
  /** The client is asked to make a new connection for its next request. Before the head. */
  closeAfter(): void;
  /** After a head of 101: the bytes of the connection, which the caller owns. Undefined where there is none. */
  upgraded?(): Duplex | undefined;
}

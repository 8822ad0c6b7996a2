/**
 * An HTTP/2 stream as a plain duplex. TLS, HTTP parsers and clients cannot run on an `Http2Stream` itself: they reach
 * for what lies under a socket.
 *
 * Invariants
 *  - Pressure goes through in both directions; half-close travels on its own.
 *  - A stream that is reset, or whose session is gone, destroys the duplex with an error; an orderly end does not.
 */
import { constants, type Http2Stream } from 'node:http2';
import { Duplex } from 'node:stream';

const HIGH_WATER_BYTES = 64 * 1024;

type Done = (error?: Error | null) => void;

export class TunnelDuplex extends Duplex {
  readonly #stream: Http2Stream;

  /** Owns the stream. */
  constructor(stream: Http2Stream) {
    super({ allowHalfOpen: true, highWaterMark: HIGH_WATER_BYTES });
    this.#stream = stream;
    stream.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) stream.pause();
    });
    stream.once('end', () => {
      // a stream that is reset ends for its reader too; that end is none
      if (!isReset(stream)) this.push(null);
    });
    stream.once('close', () => {
      if (isReset(stream) || !stream.readableEnded) this.destroy(new StreamResetError());
      else if (this.writableFinished) this.destroy();
    });
    stream.on('error', () => {}); // seen by its close
    if (stream.destroyed) this.destroy(new StreamResetError());
  }

  override _read(): void {
    this.#stream.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#stream.write(chunk, done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: Done): void {
    this.#stream.cork();
    const last = chunks.length - 1;
    for (let i = 0; i < last; i++) this.#stream.write(chunks[i]?.chunk);
    this.#stream.write(chunks[last]?.chunk, done);
    this.#stream.uncork();
  }

  override _final(done: Done): void {
    if (this.#stream.destroyed) done();
    else this.#stream.end(done);
  }

  override _destroy(error: Error | null, done: Done): void {
    const stream = this.#stream;
    if (!stream.destroyed) {
      const inOrder = !error && this.writableFinished && this.readableEnded;
      stream.close(inOrder ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_CANCEL);
    }
    done(error);
  }
}

/** Reads like the reset of a TCP connection to those who look at codes. */
class StreamResetError extends Error {
  readonly code = 'ECONNRESET';

  constructor() {
    super('the tunnel stream was reset');
  }
}

function isReset(stream: Http2Stream): boolean {
  return stream.rstCode !== undefined && stream.rstCode !== constants.NGHTTP2_NO_ERROR;
}

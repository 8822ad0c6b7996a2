/**
 * Joins an application's TCP connection with its counterpart, another TCP connection or an HBONE stream.
 *
 * Invariants
 *  - Bytes go on as fast as the slower side takes them; what is buffered is bounded by both sides' high water marks.
 *  - FIN travels on its own in each direction; a reset of one side becomes a reset of the other.
 *  - When the promise settles, both sides are closed.
 * Source: RFC 9113 section 8.5 (half-close and reset of a CONNECT stream).
 */
import { constants, type Http2Stream } from 'node:http2';
import { isHangup } from '../system-error.ts';
import { pump } from './pump.ts';
import type { TcpSocket } from './tcp-socket.ts';

export type FarSide = TcpSocket | Http2Stream;

/** Resolves with what went wrong, or undefined for an end in order (a reset after bytes flowed is one). */
export function join(near: TcpSocket, far: FarSide): Promise<Error | undefined> {
  return new Promise((resolve) => {
    let open = 2;
    let failure: Error | undefined;
    let farEnded = false;
    const closed = () => {
      open -= 1;
      if (open === 0) resolve(failure);
    };
    const failed = (error: Error) => {
      if (!isHangup(error) && !isStreamReset(error)) failure ??= error;
    };
    near.on('error', failed);
    far.on('error', failed);
    near.once('close', () => {
      if (!isFinished(near)) reset(far);
      closed();
    });
    far.once('close', () => {
      endNear(near, farEnded && !isReset(far));
      closed();
    });
    if (near.destroyed) {
      reset(far);
      closed();
    }
    if (far.destroyed) {
      endNear(near, false);
      closed();
    }
    pump(near, far);
    // a stream that is reset, or whose session is gone, ends for its reader too; that end is no FIN
    pump(far, near, () => {
      farEnded = !far.destroyed && !isReset(far);
      return farEnded;
    });
  });
}

/** Ends a side so that its peer sees a reset, never an orderly end. */
export function reset(side: FarSide): void {
  if (side.destroyed) return;
  if (!('rstCode' in side)) {
    side.reset();
    return;
  }
  // close() ends the writable side first, which would send END_STREAM: an orderly end to the peer
  side._final = (done) => done();
  side.close(constants.NGHTTP2_CANCEL);
}

/** The far side is gone for good: what it sent is still delivered, what it can no longer take is not waited for. */
function endNear(near: TcpSocket, inOrder: boolean): void {
  if (near.destroyed) return;
  if (!inOrder) near.reset();
  else if (near.writableFinished) near.destroy();
  else near.end(() => near.destroy());
}

/** A TCP side is reset when it is gone before both directions ended; a stream says so by its code. */
function isReset(far: FarSide): boolean {
  if ('rstCode' in far) return far.rstCode !== undefined && far.rstCode !== constants.NGHTTP2_NO_ERROR;
  return far.destroyed && !isFinished(far);
}

function isFinished(side: TcpSocket): boolean {
  return side.readableEnded && side.writableFinished;
}

function isStreamReset(error: Error): boolean {
  return 'code' in error && (error.code === 'ERR_HTTP2_STREAM_ERROR' || error.code === 'ERR_STREAM_PREMATURE_CLOSE');
}

/**
 * Moves bytes one way between an application's socket and its counterpart.
 *
 * Two things `pipe` does not do pay here. It keeps a little in flight: `pipe` stops its source at every write that was
 * not taken at once, which makes an HTTP/2 stream wait out a round of the event loop for each 64 kB. And it sends once
 * per turn: one TLS record arrives as several chunks, and each write to a socket is a system call.
 *
 * Invariants
 *  - What waits in `to` is at most MAX_WAITING_BYTES and what one turn of the event loop reads.
 *  - The end of `from` ends `to`; nothing else does. Who owns the streams destroys them.
 *  - No closure or lookup per chunk.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Enough to keep a session's socket busy while the event loop turns, little against an HTTP/2 window. */
const MAX_WAITING_BYTES = 512 * 1024;

/** Sockets written to in this turn of the event loop; all are sent at its end. */
const corked: Socket[] = [];

/** Starts moving. `mayEnd` is asked at the end of `from`: an end that was none is not passed on. */
export function pump(from: Duplex, to: Duplex, mayEnd: () => boolean = () => true): void {
  const batches = to instanceof Socket;
  from.on('data', (chunk: Buffer) => {
    if (batches && to.writableCorked === 0) corkForTurn(to);
    if (to.write(chunk) || to.writableLength < MAX_WAITING_BYTES) return;
    from.pause();
  });
  to.on('drain', () => {
    from.resume();
  });
  from.once('end', () => {
    if (mayEnd()) to.end();
  });
}

function corkForTurn(socket: Socket): void {
  socket.cork();
  corked.push(socket);
  if (corked.length === 1) setImmediate(uncorkAll);
}

function uncorkAll(): void {
  for (const socket of corked.splice(0)) socket.uncork();
}

/**
 * Joins two byte streams. Pressure goes through, half-close travels on its own, a reset of one side destroys the other.
 * `onClosed` is called once, when both are gone.
 */
import type { Duplex } from 'node:stream';

export interface JoinedBytes {
  /** From the first to the second. */
  readonly sent: number;
  readonly received: number;
}

/** Takes ownership of both. */
export function joinStreams(a: Duplex, b: Duplex, onClosed: (bytes: JoinedBytes) => void): void {
  let sent = 0;
  let received = 0;
  let open = 2;
  const closed = (other: Duplex) => () => {
    if (!other.destroyed) {
      if (other.writableFinished || other.writableEnded) other.once('finish', () => other.destroy());
      else other.destroy();
    }
    open -= 1;
    if (open === 0) onClosed({ sent, received });
  };
  for (const one of [a, b]) one.on('error', () => {}); // seen by its close
  a.once('close', closed(b));
  b.once('close', closed(a));
  move(a, b, (bytes) => {
    sent += bytes;
  });
  move(b, a, (bytes) => {
    received += bytes;
  });
  if (a.destroyed && !b.destroyed) b.destroy();
  if (b.destroyed && !a.destroyed) a.destroy();
}

function move(from: Duplex, to: Duplex, count: (bytes: number) => void): void {
  from.on('data', (chunk: Buffer) => {
    count(chunk.length);
    if (!to.write(chunk)) from.pause();
  });
  to.on('drain', () => from.resume());
  from.once('end', () => {
    if (!to.writableEnded) to.end();
  });
}

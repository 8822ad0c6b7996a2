/**
 * Finds dead sessions: a PING 10 s after the start and 10 s after each answer; without an answer within 20 s the session
 * is destroyed.
 */
import type { Http2Session } from 'node:http2';

const PING_INTERVAL_MS = 10_000;
const PING_TIMEOUT_MS = 20_000;

/** Watches until the session closes. */
export function watchLiveness(session: Http2Session): void {
  let timer: NodeJS.Timeout;
  const pingLater = () => {
    timer = setTimeout(ping, PING_INTERVAL_MS);
    timer.unref();
  };
  const ping = () => {
    if (session.destroyed) return;
    timer = setTimeout(() => session.destroy(), PING_TIMEOUT_MS);
    timer.unref();
    try {
      session.ping((error) => {
        clearTimeout(timer);
        if (!error) pingLater();
      });
    } catch {
      // the session is closing by itself
      clearTimeout(timer);
    }
  };
  session.once('close', () => clearTimeout(timer));
  pingLater();
}

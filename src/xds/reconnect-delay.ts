/**
 * When to open the next stream after one has ended. Source: Istio's tunnel, with one change: while the server cannot be
 * reached at all the wait stays at half a second at most, so that a restarted control plane is found at once.
 */
import { status } from '@grpc/grpc-js';

/** How a stream ended; the words are the label `reason` of the metric. */
export type TerminationReason = 'ConnectionError' | 'Error' | 'Reconnect' | 'Complete';

export type StreamEnd =
  /** It could not be opened. */
  | { readonly kind: 'not-opened' }
  /** The server ended it with a status that is not OK. */
  | { readonly kind: 'status'; readonly code: number; readonly details: string }
  /** The server ended it in order. */
  | { readonly kind: 'complete' }
  /** Anything else: a message that cannot be read. */
  | { readonly kind: 'failed' };

export interface Reconnect {
  readonly delayMs: number;
  /** State to give to the next call. */
  readonly backoffMs: number;
  readonly reason: TerminationReason;
}

export const INITIAL_BACKOFF_MS = 10;
const MAX_BACKOFF_MS = 15_000;
/** A refused connection costs both sides next to nothing; the wait is what a returned control plane is found later by. */
const MAX_UNREACHABLE_BACKOFF_MS = 500;
const ORDERLY: ReadonlySet<number> = new Set([status.UNKNOWN, status.CANCELLED, status.DEADLINE_EXCEEDED]);
const ORDERLY_TEXTS = ['transport is closing', 'received prior goaway'];

export function reconnectDelay(end: StreamEnd, backoffMs: number): Reconnect {
  switch (end.kind) {
    case 'not-opened':
      return doubled(backoffMs, MAX_UNREACHABLE_BACKOFF_MS, 'ConnectionError');
    case 'status':
      if (isOrderly(end.code, end.details)) {
        return { delayMs: INITIAL_BACKOFF_MS, backoffMs: INITIAL_BACKOFF_MS, reason: 'Reconnect' };
      }
      return doubled(backoffMs, MAX_BACKOFF_MS, 'Error');
    case 'failed':
      return { delayMs: 0, backoffMs: INITIAL_BACKOFF_MS, reason: 'Error' };
    case 'complete':
      return { delayMs: 0, backoffMs: INITIAL_BACKOFF_MS, reason: 'Complete' };
  }
}

function doubled(backoffMs: number, maxMs: number, reason: TerminationReason): Reconnect {
  const next = Math.min(backoffMs * 2, maxMs);
  return { delayMs: next, backoffMs: next, reason };
}

function isOrderly(code: number, details: string): boolean {
  if (ORDERLY.has(code)) return true;
  return code === status.UNAVAILABLE && ORDERLY_TEXTS.some((text) => details.includes(text));
}

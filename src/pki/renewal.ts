/** When to get the next certificate. Pure: clock and randomness are arguments. */

export interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

const FIRST_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 150_000;
const JITTER = 0.2;

/**
 * When to renew a certificate: at half its lifetime, or up to 10 % of it earlier so that not all ask at once.
 * @param random in [0, 1)
 * @returns delay from `nowMs` in ms, 0 when renewal is already due
 */
export function renewalDelayMs(validity: Validity, nowMs: number, random: number): number {
  const lifetimeMs = validity.notAfterMs - validity.notBeforeMs;
  return Math.max(0, validity.notBeforeMs + lifetimeMs * (0.5 - 0.1 * random) - nowMs);
}

/**
 * How long to wait after the nth failure in a row (n from 1): 1 s, then twice as long each time, at most 150 s, each
 * up to 20 % longer or shorter.
 * @param random in [0, 1)
 */
export function failureBackoffMs(failures: number, random: number): number {
  const exact = Math.min(FIRST_BACKOFF_MS * 2 ** (failures - 1), MAX_BACKOFF_MS);
  return Math.min(exact * (1 + JITTER * (2 * random - 1)), MAX_BACKOFF_MS);
}

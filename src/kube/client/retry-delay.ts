/** How long to wait before asking the API server again, so that a fleet does not come back at one moment. */

const FIRST_MS = 200;
const MAX_MS = 30_000;
/** A kind that the cluster does not have is looked for this often. */
const ABSENT_MS = 30_000;

/**
 * @param failures tries in a row that failed, 1 or more
 * @param random 0 to 1
 * @returns ms; between half and all of a bound that doubles from 200 ms to 30 s
 */
export function retryDelayMs(failures: number, random: number): number {
  const bound = Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(failures - 1, 16));
  return bound * (0.5 + random / 2);
}

/** ms until a kind that was absent is looked for again. */
export function absentDelayMs(random: number): number {
  return ABSENT_MS * (1 + random);
}

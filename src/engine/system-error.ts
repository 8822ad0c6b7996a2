/** Errors of sockets in the words of the log: `io error: Connection refused (os error 111)`. */
import { constants } from 'node:os';
import { getSystemErrorMessage } from 'node:util';
import { errnoName, errorMessage } from '../core/errors.ts';

/** Ends that a peer causes by hanging up; the connection ended, it did not fail. */
const HANGUPS: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'ENOTCONN', 'ECANCELED']);

export function isHangup(error: unknown): boolean {
  return HANGUPS.has(errnoName(error) ?? '');
}

export function ioErrorText(error: unknown): string {
  const name = errnoName(error);
  const numbers: Readonly<Record<string, number>> = constants.errno;
  const number = name === undefined ? undefined : numbers[name];
  if (number === undefined) return `io error: ${errorMessage(error)}`;
  const text = getSystemErrorMessage(-number) ?? errorMessage(error);
  return `io error: ${text.charAt(0).toUpperCase()}${text.slice(1)} (os error ${number})`;
}

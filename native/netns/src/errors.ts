/**
 * Errors of this package: the errno name as `code`, the failed system call as `syscall`. The add-on reports an error as
 * the number -(step << 12 | errno); the list of steps is the same as in addon/addon.h.
 */
import { getSystemErrorMap } from 'node:util';

const STEPS = [
  undefined,
  'setns',
  'socket',
  'setsockopt',
  'bind',
  'listen',
  'connect',
  'accept',
  'netlink',
  'unshare',
  'mount',
  'open',
  'thread',
] as const;

/** The system call, or group of calls, that failed. */
export type NetnsSyscall = NonNullable<(typeof STEPS)[number]>;

const ERRNO_MASK = 0xfff;

/** A refusal of the kernel, or of this package in the kernel's words (EINVAL for an argument that is none). */
export class NetnsError extends Error {
  override readonly name = 'NetnsError';
  /** The errno name, such as `EADDRINUSE`. */
  readonly code: string;
  readonly syscall: NetnsSyscall | undefined;

  constructor(code: string, message: string, options?: ErrorOptions & { syscall?: NetnsSyscall | undefined }) {
    super(`${code}: ${message}`, options);
    this.code = code;
    this.syscall = options?.syscall;
  }
}

/** The errno name inside a negative result. */
export function errnoOf(result: number): string {
  const errno = -result & ERRNO_MASK;
  return getSystemErrorMap().get(-errno)?.[0] ?? `E${errno}`;
}

/** The error inside a negative result; `what` says what was being done, as in "listen on 10.0.0.1:80". */
export function toNetnsError(result: number, what: string): NetnsError {
  const errno = -result & ERRNO_MASK;
  const [code, text] = getSystemErrorMap().get(-errno) ?? [`E${errno}`, 'unknown error'];
  const syscall = STEPS[-result >> 12];
  return new NetnsError(code, `${what}: ${syscall ? `${syscall}: ` : ''}${text}`, { syscall });
}

/** Returns a number that is no error, throws the error otherwise. */
export function checked(result: number, what: string): number {
  if (result < 0) throw toNetnsError(result, what);
  return result;
}

/** Returns a result that is not a number, throws the error that a number stands for. */
export function checkedValue<T>(result: T | number, what: string): T {
  if (typeof result === 'number') throw toNetnsError(result, what);
  return result;
}

/** What a wait rejects with when its owner gave up: `ECANCELED` with the signal's reason as cause. */
export function canceled(what: string, signal?: AbortSignal): NetnsError {
  return new NetnsError('ECANCELED', `${what}: given up`, { cause: signal?.reason });
}

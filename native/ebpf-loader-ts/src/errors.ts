/** Errors of this package: the errno name as `code` and, where the verifier refused, its log. */
import { getSystemErrorMap } from 'node:util';

/** A refusal of the kernel or of libbpf, or of this package in the kernel's words (EINVAL for a wrong size). */
export class BpfError extends Error {
  override readonly name = 'BpfError';
  /** The errno name, such as `EPERM`. */
  readonly code: string;
  /** What libbpf and the verifier printed, empty when nothing. The verdict is in the last lines. */
  readonly verifierLog: string;

  constructor(code: string, message: string, options?: ErrorOptions & { verifierLog?: string }) {
    super(`${code}: ${message}`, options);
    this.code = code;
    this.verifierLog = options?.verifierLog ?? '';
  }
}

/** The error that the negative result stands for; `what` says what was being done. */
export function toBpfError(result: number, what: string, verifierLog = ''): BpfError {
  const [code, text] = getSystemErrorMap().get(result) ?? [`E${-result}`, 'unknown error'];
  const lastLine = verifierLog.trimEnd().split('\n').at(-1);
  return new BpfError(code, `${what}: ${text}${lastLine ? ` (${lastLine})` : ''}`, { verifierLog });
}

/** Returns a number that is no error, throws the error otherwise. */
export function checked(result: number, what: string): number {
  if (result < 0) throw toBpfError(result, what);
  return result;
}

/** Returns a result that is not a number, throws the error that a number stands for. */
export function checkedValue<T>(result: T | number, what: string): T {
  if (typeof result === 'number') throw toBpfError(result, what);
  return result;
}

/** What a check has seen, and what to do about it. */
export interface Finding {
  /** An error keeps the mesh from working, a warning part of it. */
  readonly level: 'ok' | 'info' | 'warning' | 'error';
  readonly what: string;
  /** A command or setting that helps. */
  readonly fix?: string;
}

export const ok = (what: string): Finding => ({ level: 'ok', what });
export const info = (what: string, fix?: string): Finding => finding('info', what, fix);
export const warning = (what: string, fix?: string): Finding => finding('warning', what, fix);
export const fault = (what: string, fix?: string): Finding => finding('error', what, fix);

function finding(level: Finding['level'], what: string, fix: string | undefined): Finding {
  return { level, what, ...(fix === undefined ? {} : { fix }) };
}

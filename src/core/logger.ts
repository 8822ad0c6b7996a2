/**
 * Logging as a port. A message is a constant; facts are fields. Loggers are handed over and narrowed with `child`,
 * never imported. `log-writer.ts` makes the real one.
 */
export type LogFields = Readonly<Record<string, unknown>>;
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

export interface Logger {
  trace(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** Whether a record of that level would be written: ask before building costly fields. */
  isLevelEnabled(level: LogLevel): boolean;
  /** A logger of the scope `name` (`access`, `xds`, `dns`) whose every record carries `fields`. */
  child(name: string, fields?: LogFields): Logger;
}

/** Writes nothing. */
export const silentLogger: Logger = {
  trace() {},
  debug() {},
  info() {},
  warn() {},
  error() {},
  isLevelEnabled: () => false,
  child: () => silentLogger,
};

/** Text that stands in a plain log line as it is, without quotes: addresses, not words of a peer. */
export class BareText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  toJSON(): string {
    return this.text;
  }

  toString(): string {
    return this.text;
  }
}

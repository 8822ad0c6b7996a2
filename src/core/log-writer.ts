/**
 * Writes log records, one line each, in the plain form of the Istio node tunnel or as JSON.
 *
 * Guarantees
 *  - Lossless and in order: when more than `BUFFERED_BYTES_MAX` wait for the destination, writing blocks until they are out.
 *  - A line never contains a raw line break, whatever a peer sent.
 *  - The level can be changed while running and holds for every logger at once.
 */
import { destination } from 'pino';
import { LogFilter } from './log-filter.ts';
import { BareText, type LogFields, type Logger, type LogLevel } from './logger.ts';

export type LogFormat = 'plain' | 'json';

/** Takes whole lines. `pendingBytes` is what has not reached the destination yet. */
export interface LogSink {
  write(line: string): void;
  flush(): void;
  readonly pendingBytes: number;
}

export interface LogWriterOptions {
  readonly format: LogFormat;
  /** `info`, or `warn,access=debug`. Throws an Error from the constructor when it is no filter. */
  readonly filter: string;
  readonly sink: LogSink;
  /** Microseconds since the epoch; for tests. */
  readonly nowUs?: () => number;
}

/** About 10,000 access log lines. */
const BUFFERED_BYTES_MAX = 8 * 1024 * 1024;

/** Owner of the filter and the sink; `logger` and its children write through it. */
export class LogWriter {
  readonly logger: Logger;
  readonly #options: LogWriterOptions;
  readonly #nowUs: () => number;
  #text: string;
  #filter: LogFilter;

  constructor(options: LogWriterOptions) {
    this.#options = options;
    this.#nowUs = options.nowUs ?? systemNowUs;
    this.#text = options.filter;
    this.#filter = new LogFilter(options.filter);
    this.logger = this.#make('', {});
  }

  /** The filter in force, as text. */
  get filter(): string {
    return this.#text;
  }

  /** Replaces the filter; throws an Error and changes nothing when `text` is none. */
  setFilter(text: string): void {
    this.#filter = new LogFilter(text);
    this.#text = text;
  }

  /** Back to the filter this writer was made with; `extra` rules are added to it. */
  resetFilter(extra = ''): void {
    this.setFilter([this.#options.filter, extra].filter((part) => part !== '').join(','));
  }

  /** Writes out what is buffered, synchronously. */
  flush(): void {
    this.#options.sink.flush();
  }

  #make(scope: string, bound: LogFields): Logger {
    const write = (level: LogLevel, message: string, fields?: LogFields): void => {
      if (!this.#filter.allows(scope, level)) return;
      const { sink, format } = this.#options;
      const all = fields ? { ...bound, ...fields } : bound;
      const record = { timeUs: this.#nowUs(), level, scope, message, fields: all };
      sink.write(format === 'json' ? formatJson(record) : formatPlain(record));
      if (sink.pendingBytes > BUFFERED_BYTES_MAX) sink.flush();
    };
    return {
      trace: (message, fields) => write('trace', message, fields),
      debug: (message, fields) => write('debug', message, fields),
      info: (message, fields) => write('info', message, fields),
      warn: (message, fields) => write('warn', message, fields),
      error: (message, fields) => write('error', message, fields),
      isLevelEnabled: (level) => this.#filter.allows(scope, level),
      child: (name, fields) => {
        const below = scope === '' ? name : name === '' ? scope : `${scope}::${name}`;
        return this.#make(below, fields ? { ...bound, ...fields } : bound);
      },
    };
  }
}

export interface LogRecord {
  readonly timeUs: number;
  readonly level: LogLevel;
  readonly scope: string;
  readonly message: string;
  readonly fields: LogFields;
}

/** `time<TAB>level<TAB>scope<TAB>message<TAB>k=v k="text"`, with a line break at the end. */
export function formatPlain({ timeUs, level, scope, message, fields }: LogRecord): string {
  const parts: string[] = [];
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) parts.push(`${name}=${plainValue(value)}`);
  }
  const head = `${formatTime(timeUs)}\t${level}\t${scope === '' ? 'culvert' : scope}\t${oneLine(message)}`;
  return parts.length === 0 ? `${head}\n` : `${head}\t${parts.join(' ')}\n`;
}

/** Keys `level`, `time`, `scope`, `message`, then the fields, flat. */
export function formatJson({ timeUs, level, scope, message, fields }: LogRecord): string {
  const head = { level, time: formatTime(timeUs), scope: scope === '' ? 'culvert' : scope, message };
  const values: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (!(name in head)) values[name] = jsonValue(value);
  }
  return `${JSON.stringify({ ...head, ...values })}\n`;
}

/** RFC 3339 in UTC with microseconds. */
export function formatTime(timeUs: number): string {
  const ms = Math.floor(timeUs / 1_000);
  const rest = String(Math.floor(timeUs % 1_000)).padStart(3, '0');
  return `${new Date(ms).toISOString().slice(0, -1)}${rest}Z`;
}

function plainValue(value: unknown): string {
  if (value instanceof BareText) return oneLine(value.text);
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (value instanceof Error) return JSON.stringify(value.message);
  return oneLine(JSON.stringify(value) ?? 'null');
}

function jsonValue(value: unknown): unknown {
  if (value instanceof Error) return value.message;
  return typeof value === 'bigint' ? Number(value) : value;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not reach the log
const CONTROL = /[\u0000-\u001f\u007f\u2028\u2029]/g;

function oneLine(text: string): string {
  return text.replace(CONTROL, (char) => `\\u{${char.charCodeAt(0).toString(16)}}`);
}

function systemNowUs(): number {
  return Math.floor((performance.timeOrigin + performance.now()) * 1_000);
}

/** An asynchronous sink on a file descriptor; 1 is standard output. The process ends with flush(). */
export function fileSink(fd: number): LogSink {
  let pendingBytes = 0;
  const stream = destination({ dest: fd, sync: false });
  stream.on('write', (bytes: number) => {
    pendingBytes = Math.max(0, pendingBytes - bytes);
  });
  stream.on('error', () => {}); // a closed standard output must not end the data plane
  return {
    write(line) {
      pendingBytes += Buffer.byteLength(line);
      stream.write(line);
    },
    flush() {
      try {
        stream.flushSync();
        pendingBytes = 0;
      } catch {
        pendingBytes = 0; // the destination is gone
      }
    },
    get pendingBytes() {
      return pendingBytes;
    },
  };
}

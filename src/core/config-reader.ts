/**
 * Reads configuration from an environment and reports every problem together.
 * Nothing past `src/cli/` reads `process.env`: the environment arrives here as an argument.
 */
import { errorMessage, MeshError } from './errors.ts';

export type Env = Readonly<Record<string, string | undefined>>;
/** Turns text into a value; throws an Error that says what is wrong with the text. */
export type Parse<T> = (text: string) => T;

export class ConfigReader {
  readonly #env: Env;
  readonly #problems: string[] = [];

  constructor(env: Env) {
    this.#env = env;
  }

  /** The value of `name`; a missing or empty one is a problem. */
  required<T>(name: string, parse: Parse<T>): T {
    const text = this.#env[name];
    if (text === undefined || text === '') {
      this.#problems.push(`${name} is not set`);
      return undefined as T; // never seen: done() throws
    }
    return this.#parse(name, text, parse) as T; // never seen undefined: done() throws
  }

  /** The value of `name`, or `fallback` when it is missing or empty. */
  optional<T>(name: string, parse: Parse<T>, fallback: T): T {
    const text = this.#env[name];
    if (text === undefined || text === '') return fallback;
    return this.#parse(name, text, parse) ?? fallback;
  }

  /** All variables whose name starts with `prefix`, keyed by the rest of the name. */
  prefixed(prefix: string): Readonly<Record<string, string>> {
    const found: Record<string, string> = {};
    for (const [name, value] of Object.entries(this.#env)) {
      if (name.startsWith(prefix) && value !== undefined) found[name.slice(prefix.length)] = value;
    }
    return found;
  }

  /** Records a problem that concerns several variables. */
  problem(text: string): void {
    this.#problems.push(text);
  }

  /** Returns `config`, or throws ERR_CONFIG with every problem met since this reader was made. */
  done<T>(config: T): T {
    if (this.#problems.length === 0) return config;
    throw new MeshError('ERR_CONFIG', `invalid configuration: ${this.#problems.join('; ')}`);
  }

  #parse<T>(name: string, text: string, parse: Parse<T>): T | undefined {
    try {
      return parse(text);
    } catch (error) {
      this.#problems.push(`${name}=${text}: ${errorMessage(error)}`);
      return undefined;
    }
  }
}

export const asString: Parse<string> = (text) => text;

/** `true` or `false`, in any case. */
export const asBoolean: Parse<boolean> = (text) => {
  const value = text.toLowerCase();
  if (value === 'true' || value === '1') return true;
  if (value === 'false' || value === '0') return false;
  throw new Error('expected true or false');
};

export const asPositiveInt: Parse<number> = (text) => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value <= 0) throw new Error('expected a whole number above 0');
  return value;
};

export const asPort: Parse<number> = (text) => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 65_535) throw new Error('expected a port from 0 to 65535');
  return value;
};

/** A Go-style duration (`5s`, `1h30m`, `250ms`) in milliseconds. */
export const asDurationMs: Parse<number> = (text) => {
  const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) throw new Error('expected a duration such as 5s, 250ms or 1h30m');
  let total = 0;
  for (const [, amount, , unit] of text.matchAll(/(\d+(\.\d+)?)(ms|s|m|h)/g)) {
    total += Number(amount) * units[unit as keyof typeof units]; // the pattern allows these four only
  }
  return total;
};

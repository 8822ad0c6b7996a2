/**
 * Which records are written: `info`, or `warn,access=debug,xds=off`. The longest scope that matches decides, a scope
 * covers the scopes below it (`dns` covers `dns::forward`), and a later rule for the same scope wins.
 */
import type { LogLevel } from './logger.ts';

export type FilterLevel = LogLevel | 'off';

const RANKS: Readonly<Record<FilterLevel, number>> = { trace: 0, debug: 1, info: 2, warn: 3, error: 4, off: 5 };
/** No operator writes more; a longer text is an attack on the admin port. */
const FILTER_TEXT_MAX = 4_096;

export class LogFilter {
  readonly #default: FilterLevel;
  readonly #scopes: ReadonlyMap<string, FilterLevel>;

  /** Throws an Error that names the part which is no rule. */
  constructor(text: string) {
    if (text.length > FILTER_TEXT_MAX) throw new Error('the log filter is too long');
    const scopes = new Map<string, FilterLevel>();
    let fallback: FilterLevel = 'info';
    for (const part of text.split(',').map((rule) => rule.trim())) {
      if (part === '') continue;
      const [scope = '', level, ...rest] = part.split('=');
      if (rest.length > 0) throw new Error(`invalid log rule: ${part}`);
      if (level === undefined) fallback = parseLevel(scope);
      else scopes.set(scope, parseLevel(level));
    }
    this.#default = fallback;
    this.#scopes = scopes;
  }

  allows(scope: string, level: LogLevel): boolean {
    return RANKS[level] >= RANKS[this.#levelOf(scope)];
  }

  #levelOf(scope: string): FilterLevel {
    for (let name = scope; name !== ''; name = name.slice(0, Math.max(0, name.lastIndexOf('::')))) {
      const level = this.#scopes.get(name);
      if (level !== undefined) return level;
    }
    return this.#default;
  }
}

function parseLevel(text: string): FilterLevel {
  const level = text.toLowerCase();
  if (Object.hasOwn(RANKS, level)) return level as FilterLevel; // a key of RANKS
  throw new Error(`invalid log level: ${text}`);
}

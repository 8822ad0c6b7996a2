/**
 * Text matches compiled to functions, once per change of the configuration.
 * A regular expression matches the whole text. Its syntax is RE2's as far as JavaScript has it: inline flags at the start
 * and named groups are rewritten; what RE2 lacks (back references, look-around) is refused, so that time stays linear.
 */
import { MeshError } from '../../core/errors.ts';
import type { NamedMatch, TextMatch } from '../../model/l7/index.ts';

export type TextPredicate = (text: string) => boolean;

/** Throws ERR_MALFORMED for an expression that cannot be used. */
export function compileText({ kind, value, ignoreCase }: TextMatch): TextPredicate {
  if (kind === 'REGEX') {
    const expression = compileRegex(value, ignoreCase);
    return (text) => expression.test(text);
  }
  const wanted = ignoreCase ? value.toLowerCase() : value;
  const compare = PREDICATES[kind](wanted);
  return ignoreCase ? (text) => compare(text.toLowerCase()) : compare;
}

const PREDICATES: Readonly<Record<Exclude<TextMatch['kind'], 'REGEX'>, (wanted: string) => TextPredicate>> = {
  EXACT: (wanted) => (text) => text === wanted,
  PREFIX: (wanted) => (text) => text.startsWith(wanted),
  SUFFIX: (wanted) => (text) => text.endsWith(wanted),
  CONTAINS: (wanted) => (text) => text.includes(wanted),
  PRESENCE: () => (text) => text !== '',
};

const NOT_IN_RE2 = /\\[1-9]|\\k<|\(\?[=!]|\(\?<[=!]/;

/** Anchored at both ends. Throws ERR_MALFORMED. */
export function compileRegex(source: string, ignoreCase = false): RegExp {
  return toRegExp(source, { ignoreCase, anchored: true });
}

/** Finds the expression anywhere, every time (`g`). Throws ERR_MALFORMED. */
export function compileSearch(source: string): RegExp {
  return toRegExp(source, { ignoreCase: false, anchored: false });
}

function toRegExp(source: string, { ignoreCase, anchored }: { ignoreCase: boolean; anchored: boolean }): RegExp {
  if (NOT_IN_RE2.test(source)) {
    throw new MeshError('ERR_MALFORMED', `regular expression ${source}: back references and look-around are not RE2`);
  }
  const inline = /^\(\?([a-zA-Z]+)\)/.exec(source);
  const flags = new Set(inline?.[1] ?? '');
  if (ignoreCase) flags.add('i');
  const body = source
    .slice(inline?.[0].length ?? 0)
    .replaceAll('(?P<', '(?<')
    .replaceAll('\\z', '$')
    .replaceAll('\\A', '^');
  const known = ['i', 's', 'm'].filter((flag) => flags.has(flag)).join('');
  try {
    return new RegExp(anchored ? `^(?:${body})$` : body, anchored ? known : `${known}g`);
  } catch (cause) {
    throw new MeshError('ERR_MALFORMED', `regular expression ${source}: ${String(cause)}`, { cause });
  }
}

export interface NamedPredicate {
  readonly name: string;
  readonly holds: (value: string | undefined) => boolean;
}

/** An absent text matches nothing, and so everything inverted. Throws ERR_MALFORMED. */
export function compileNamed({ name, match, invert }: NamedMatch): NamedPredicate {
  const predicate = compileText(match);
  const holds = (value: string | undefined): boolean => (value !== undefined && predicate(value)) !== invert;
  return { name, holds };
}

/** Text matches compiled to functions, once per change of the configuration. */
import { compileRegex, type NamedMatch, type TextMatch } from '../../model/l7/index.ts';

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

/**
 * Regular expressions of routes and policies. A match is of the whole text. The syntax is RE2's as far as JavaScript has
 * it: inline flags at the start and named groups are rewritten; what RE2 lacks (back references, look-around) is refused.
 */
import { MeshError } from '../../core/errors.ts';

const NOT_IN_RE2 = /\\[1-9]|\\k<|\(\?[=!]|\(\?<[=!]/;

/** Anchored at both ends. Throws ERR_MALFORMED. */
export function compileRegex(source: string, ignoreCase = false): RegExp {
  return toRegExp(source, { ignoreCase, anchored: true });
}

/** Finds the expression anywhere, every time (`g`). Throws ERR_MALFORMED. */
export function compileSearch(source: string): RegExp {
  return toRegExp(source, { ignoreCase: false, anchored: false });
}

/** What is wrong with an expression; undefined when it can be used. */
export function regexFault(source: string): string | undefined {
  try {
    compileRegex(source);
    return undefined;
  } catch (error) {
    if (error instanceof MeshError) return error.message;
    throw error;
  }
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

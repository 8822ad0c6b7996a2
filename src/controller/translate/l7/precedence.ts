/** Which of two matches goes first. Source: Gateway API, HTTPRouteMatch: exact path, longest prefix, method, headers, query. */
import type { HttpMatch, HttpRoute, PathMatch } from '../../../model/l7/index.ts';

type Precedence = readonly [path: number, length: number, method: number, headers: number, query: number];

const PATH_RANK: Readonly<Record<PathMatch['kind'], number>> = { EXACT: 3, PREFIX: 2, SEGMENTS: 2, REGEX: 1 };

/** Larger goes first. */
export function precedenceOf({ path, method, headers, query }: HttpMatch): Precedence {
  const length = path?.value.replace(/\/$/, '').length ?? 0;
  return [path ? PATH_RANK[path.kind] : 2, length, method ? 1 : 0, headers.length, query.length];
}

/** For sorting routes: what matches more narrowly first, equals as they are. */
export function comparePrecedence(a: HttpRoute, b: HttpRoute): number {
  const left = precedenceOf(a.match);
  const right = precedenceOf(b.match);
  for (const [index, value] of left.entries()) {
    const other = right[index] ?? 0;
    if (value !== other) return other - value;
  }
  return 0;
}

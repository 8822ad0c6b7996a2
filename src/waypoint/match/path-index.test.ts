import test from 'ava';
import fc from 'fast-check';
import type { PathMatch } from '../../model/l7/index.ts';
import { PathIndex } from './path-index.ts';

/** The obvious way: every path match tried in order. */
function matches({ kind, value, ignoreCase }: PathMatch, given: string): boolean {
  const path = ignoreCase ? given.toLowerCase() : given;
  const wanted = ignoreCase ? value.toLowerCase() : value;
  if (kind === 'EXACT') return path === wanted;
  if (kind === 'PREFIX') return path.startsWith(wanted);
  if (kind === 'REGEX') return new RegExp(`^(?:${value})$`, ignoreCase ? 'i' : '').test(given);
  const bare = wanted.endsWith('/') ? wanted.slice(0, -1) : wanted;
  return path === bare || path.startsWith(`${bare}/`);
}

function indexOf(routes: readonly (PathMatch | undefined)[]): PathIndex {
  const index = new PathIndex();
  routes.forEach((path, route) => {
    index.add(route, path);
  });
  return index;
}

const path = fc
  .array(fc.constantFrom('a', 'b', 'ab', '', 'A'), { minLength: 1, maxLength: 4 })
  .map((segments) => `/${segments.join('/')}`);
const match = fc.option(
  fc.record({
    kind: fc.constantFrom('EXACT' as const, 'PREFIX' as const, 'SEGMENTS' as const),
    value: path,
    ignoreCase: fc.boolean(),
  }),
  { nil: undefined },
);

test('the first route in order that matches is found, whatever the routes are', (t) => {
  fc.assert(
    fc.property(fc.array(match, { maxLength: 12 }), path, fc.array(fc.nat({ max: 11 })), (routes, text, refused) => {
      const accepts = (route: number): boolean => !refused.includes(route);
      const expected = routes.findIndex((one, route) => accepts(route) && (!one || matches(one, text)));
      t.is(indexOf(routes).firstMatch(text, accepts), expected);
    }),
    { numRuns: 2_000 },
  );
});

const finds = test.macro((t, routes: readonly PathMatch[], text: string, expected: number) => {
  t.is(
    indexOf(routes).firstMatch(text, () => true),
    expected,
  );
});
const of = (kind: PathMatch['kind'], value: string): PathMatch => ({ kind, value, ignoreCase: false });
test('a prefix by segments does not end within one', finds, [of('SEGMENTS', '/foo')], '/foobar', -1);
test('a prefix by characters does', finds, [of('PREFIX', '/foo')], '/foobar', 0);
test('the trailing slash of a prefix by segments is ignored', finds, [of('SEGMENTS', '/foo/')], '/foo', 0);
test('the trailing slash of a prefix by characters is not', finds, [of('PREFIX', '/foo/')], '/foo', -1);
test('a regular expression matches the whole path', finds, [of('REGEX', '/v[0-9]')], '/v12', -1);
test('an expression that is not RE2 is refused', (t) => {
  t.throws(() => indexOf([of('REGEX', '/(a)\\1')]), { code: 'ERR_MALFORMED' });
});

/** The compiled table against the obvious implementation: hosts by length, then the first route all of whose parts hold. */
import test from 'ava';
import fc from 'fast-check';
import {
  type HttpMatch,
  type NamedMatch,
  type PathMatch,
  type TextMatch,
  toRoute,
  type VirtualHost,
} from '../../model/l7/index.ts';
import { HeaderList } from '../http/header-list.ts';
import { hostOf, type RoutedRequest, RouteTable } from './route-table.ts';

const word = fc.constantFrom('a', 'b', 'ab', 'A');
const text: fc.Arbitrary<TextMatch> = fc.record({
  kind: fc.constantFrom('EXACT', 'PREFIX', 'SUFFIX', 'CONTAINS', 'REGEX', 'PRESENCE'),
  value: word,
  ignoreCase: fc.boolean(),
});
const named: fc.Arbitrary<NamedMatch> = fc.record({
  name: fc.constantFrom('x', 'y'),
  match: text,
  invert: fc.boolean(),
});
const segments = fc.array(word, { maxLength: 3 }).map((parts) => `/${parts.join('/')}`);
const path: fc.Arbitrary<PathMatch> = fc.record({
  kind: fc.constantFrom('EXACT', 'PREFIX', 'SEGMENTS', 'REGEX'),
  value: segments,
  ignoreCase: fc.boolean(),
});
const match: fc.Arbitrary<HttpMatch> = fc.record(
  {
    path,
    method: text,
    headers: fc.array(named, { maxLength: 2 }),
    query: fc.array(named, { maxLength: 1 }),
    clientNamespace: word,
  },
  { requiredKeys: ['headers', 'query'] },
);
const host: fc.Arbitrary<VirtualHost> = fc.record({
  name: fc.constant('host'),
  hosts: fc.uniqueArray(fc.constantFrom('*', '*.b', '*.a.b', 'a.b', 'c.a.b'), { minLength: 1, maxLength: 2 }),
  clientNamespaces: fc.oneof(fc.constant([]), fc.array(word, { maxLength: 1 })),
  routes: fc
    .array(match, { maxLength: 6 })
    .map((matches) =>
      matches.map((one, index) =>
        toRoute({ name: String(index), match: one, action: { kind: 'FORWARD', backends: [] } }),
      ),
    ),
});
const request: fc.Arbitrary<RoutedRequest> = fc.record({
  method: word,
  path: segments,
  query: fc.constantFrom('', '?x=a', '?y=b&x=ab'),
  authority: fc.constantFrom('a.b', 'C.a.b:80', 'b', 'd.c.a.b'),
  scheme: fc.constant('http'),
  headers: fc
    .array(fc.tuple(fc.constantFrom('x', 'y'), word), { maxLength: 3 })
    .map((lines) => new HeaderList(lines.flat())),
  clientNamespace: word,
});

function holdsText({ kind, value, ignoreCase }: TextMatch, given: string): boolean {
  if (kind === 'REGEX') return new RegExp(`^(?:${value})$`, ignoreCase ? 'i' : '').test(given);
  const [left, right] = ignoreCase ? [given.toLowerCase(), value.toLowerCase()] : [given, value];
  if (kind === 'EXACT') return left === right;
  if (kind === 'PREFIX') return left.startsWith(right);
  if (kind === 'SUFFIX') return left.endsWith(right);
  return kind === 'CONTAINS' ? left.includes(right) : left !== '';
}

function holdsPath({ kind, value, ignoreCase }: PathMatch, given: string): boolean {
  if (kind !== 'SEGMENTS') return holdsText({ kind, value, ignoreCase }, given);
  const lower = (text: string): string => (ignoreCase ? text.toLowerCase() : text);
  const parts = (text: string) => lower(text).replace(/\/$/, '').split('/');
  return parts(value).every((part, index) => parts(`${given}`)[index] === part);
}

function holds(one: HttpMatch, given: RoutedRequest): boolean {
  const holdsNamed = ({ match: wanted, invert }: NamedMatch, value: string | undefined): boolean =>
    (value !== undefined && holdsText(wanted, value)) !== invert;
  return (
    (!one.path || holdsPath(one.path, given.path)) &&
    (!one.method || holdsText(one.method, given.method)) &&
    (one.clientNamespace === undefined || one.clientNamespace === given.clientNamespace) &&
    one.headers.every((wanted) => holdsNamed(wanted, given.headers.get(wanted.name))) &&
    one.query.every((wanted) => holdsNamed(wanted, new URLSearchParams(given.query).get(wanted.name) ?? undefined))
  );
}

function findSlowly(hosts: readonly VirtualHost[], given: RoutedRequest) {
  const name = hostOf(given.authority);
  const fits = (pattern: string): number => {
    if (pattern === '*') return 0;
    if (!pattern.startsWith('*')) return pattern === name ? 1_000 : -1;
    return name.endsWith(pattern.slice(1)) && name.length >= pattern.length ? pattern.length : -1;
  };
  const ranked = hosts.map((one) => {
    const isOwn = one.clientNamespaces.length > 0;
    if (isOwn && !one.clientNamespaces.includes(given.clientNamespace)) return -1;
    const best = Math.max(...one.hosts.map(fits));
    return best < 0 ? -1 : best + (isOwn ? 10_000 : 0);
  });
  const best = Math.max(-1, ...ranked);
  const chosen = best < 0 ? undefined : hosts[ranked.indexOf(best)];
  return chosen?.routes.find((route) => holds(route.match, given));
}

test('the table finds what looking at every route finds', (t) => {
  fc.assert(
    fc.property(fc.array(host, { maxLength: 3 }), request, (hosts, given) => {
      t.is(new RouteTable(hosts).find(given), findSlowly(hosts, given));
    }),
    { numRuns: 2_000 },
  );
});

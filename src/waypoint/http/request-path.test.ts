import test from 'ava';
import fc from 'fast-check';
import { normalizePath, parseRequestPath } from './request-path.ts';

const base = test.macro((t, path: string, expected: string) => {
  t.is(normalizePath(path, 'BASE'), expected);
});
test('plain', base, '/a/b', '/a/b');
test('one dot', base, '/a/./b', '/a/b');
test('two dots', base, '/a/../b', '/b');
test('two dots at the end', base, '/a/b/..', '/a/');
test('more dots than segments', base, '/../../a', '/a');
test('escaped dots', base, '/a/%2e%2E/admin', '/admin');
test('backslashes', base, '/a\\..\\admin', '/admin');
test('unreserved characters are decoded', base, '/%61dmin', '/admin');
test('an escaped slash stays one', base, '/a%2fb', '/a%2Fb');
test('empty segments stay', base, '/a//b', '/a//b');
test('hidden files are no dot segments', base, '/a/.b', '/a/.b');

test('slashes are merged where that is asked for', (t) => {
  t.is(normalizePath('/a//b', 'MERGE_SLASHES'), '/a/b');
  t.is(normalizePath('/a%2f/b%5Cc', 'DECODE_AND_MERGE_SLASHES'), '/a/b/c');
  t.is(normalizePath('/a/../b', 'NONE'), '/a/../b');
});
test('query and fragment are no part of the path', (t) => {
  t.deepEqual(parseRequestPath('/a/../b?x=/../y#z', 'BASE'), { path: '/b', query: '?x=/../y' });
  t.deepEqual(parseRequestPath('http://host/a', 'BASE'), { path: '/a', query: '' });
  t.deepEqual(parseRequestPath('http://host?x', 'BASE'), { path: '/', query: '?x' });
  t.is(parseRequestPath('a', 'BASE'), undefined);
});
test('normalising twice changes nothing more, and no dot segment is left', (t) => {
  const text = fc
    .array(fc.constantFrom('a', '.', '..', '%2e', '%252e', '\\', '%5c', '%2F', '', 'b%41'), { maxLength: 8 })
    .map((segments) => `/${segments.join('/')}`);
  fc.assert(
    fc.property(text, fc.constantFrom('BASE' as const, 'MERGE_SLASHES' as const), (path, how) => {
      const once = normalizePath(path, how);
      t.is(normalizePath(once, how), once);
      t.false(once.split('/').some((segment) => segment === '.' || segment === '..'));
    }),
  );
});

import test from 'ava';
import fc from 'fast-check';
import { identityUri, parseIdentity } from './identity.ts';

const part = fc.stringMatching(/^[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?$/);
const identity = fc.record({ trustDomain: part, namespace: part, serviceAccount: part });
const almost = fc
  .array(fc.oneof(fc.constantFrom('spiffe:', '', 'ns', 'sa', 'cluster.local'), fc.string({ maxLength: 5 })), {
    maxLength: 9,
  })
  .map((parts) => parts.join('/'));

test('an identity survives being written', (t) => {
  fc.assert(fc.property(identity, (given) => t.deepEqual(parseIdentity(identityUri(given)), given)));
});

test('a text is an identity only when it is the text of that identity and no part is empty', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), almost), (text) => {
      const read = parseIdentity(text);
      if (read === undefined) return t.pass();
      t.is(identityUri(read), text);
      for (const value of Object.values(read)) t.regex(value, /^[^/]+$/);
    }),
  );
});

const refuses = test.macro((t, text: string) => t.is(parseIdentity(text), undefined));
test('another scheme', refuses, 'https://td/ns/a/sa/b');
test('a part too many', refuses, 'spiffe://td/ns/a/sa/b/c');
test('a part too few', refuses, 'spiffe://td/ns/a/sa');
test('no trust domain', refuses, 'spiffe:///ns/a/sa/b');
test('no namespace', refuses, 'spiffe://td/ns//sa/b');
test('no service account', refuses, 'spiffe://td/ns/a/sa/');

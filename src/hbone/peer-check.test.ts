import test from 'ava';
import { systemClock } from '../core/system-clock.ts';
import { type Identity, identityUri } from '../model/identity.ts';
import { CERTIFICATE, CertificateAuthority, PrivateKey, parsePem } from '../pki/index.ts';
import { checkClient, checkServer } from './peer-check.ts';

const CART: Identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'cart' };
const FOREIGN: Identity = { ...CART, trustDomain: 'elsewhere' };

const authority = await CertificateAuthority.ephemeral({ trustDomain: 'cluster.local', clock: systemClock });
const key = await PrivateKey.generate();
function leaf(...uris: string[]): Uint8Array {
  const [pem = ''] = authority.issue(key.publicKeyDer, uris, 0);
  return parsePem(pem, CERTIFICATE)[0] ?? new Uint8Array();
}

test('a client is who its first SPIFFE id says', (t) => {
  t.deepEqual(
    checkClient(leaf('https://x', identityUri(CART), 'spiffe://cluster.local/ns/b/sa/b'), 'cluster.local'),
    CART,
  );
});

const refusesClient = test.macro((t, ...uris: string[]) => {
  t.throws(() => checkClient(leaf(...uris), 'cluster.local'), {
    code: 'ERR_PEER_IDENTITY',
    message: /did not present the expected trustdomain \(cluster\.local\)/,
  });
});
test('a client of another trust domain is refused', refusesClient, identityUri(FOREIGN));
test('a client whose first name is foreign is refused', refusesClient, identityUri(FOREIGN), identityUri(CART));
test('a client without a name is refused', refusesClient);
test('a trust domain that only begins alike is another one', refusesClient, 'spiffe://cluster.local.x/ns/a/sa/b');

test('a server is accepted by any of its names and any expected one', (t) => {
  const expected = ['spiffe://cluster.local/ns/other/sa/other', identityUri(CART)];
  t.notThrows(() => checkServer(leaf(identityUri(FOREIGN), identityUri(CART)), expected));
});
test('a server that is not expected is refused, with both sides named', (t) => {
  t.throws(() => checkServer(leaf(identityUri(FOREIGN)), [identityUri(CART)]), {
    code: 'ERR_PEER_IDENTITY',
    message: `identity verification error: peer did not present the expected SAN ([${identityUri(CART)}]), got [${identityUri(FOREIGN)}]`,
  });
});
test('with nothing expected nobody is accepted', (t) => {
  t.throws(() => checkServer(leaf(identityUri(CART)), []), { code: 'ERR_PEER_IDENTITY' });
});

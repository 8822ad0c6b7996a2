import test from 'ava';
import fc from 'fast-check';
import { MeshError } from '../core/errors.ts';
import { parseCertificate } from './certificate.ts';
import { buildCertificate, nameDer, type Signer } from './certificate-builder.ts';
import { isPathRevoked, PeerRevokedError, verifyPeerChain } from './peer-chain.ts';
import { CERTIFICATE, CRL, parsePem, toPem } from './pem.ts';
import { PrivateKey } from './private-key.ts';
import { RevocationLists } from './revocation-list.ts';
import { joinTrustBundles, parseTrustBundle } from './trust-bundle.ts';

const NOW = Date.UTC(2026, 5, 1);
const DAY = 86_400_000;
const URI = 'spiffe://cluster.local/ns/shop/sa/cart';

interface Authority {
  readonly key: PrivateKey;
  readonly name: string;
  readonly pem: string;
  readonly der: Buffer;
}
const der = (pem: string): Buffer => parsePem(pem, CERTIFICATE)[0] ?? Buffer.alloc(0);

async function authority(name: string, parent?: Authority): Promise<Authority> {
  const key = await PrivateKey.generate();
  const signer: Signer = { key: parent?.key ?? key, subject: nameDer(parent?.name ?? name) };
  const template = { publicKeyDer: key.publicKeyDer, organization: name, names: {}, isCa: true };
  const pem = buildCertificate({ ...template, notBeforeMs: NOW - DAY, notAfterMs: NOW + 100 * DAY }, signer);
  return { key, name, pem, der: der(pem) };
}
const leafKey = await PrivateKey.generate();
function leaf(by: Authority, overrides: { uris?: string[]; notAfterMs?: number; notBeforeMs?: number } = {}): Buffer {
  const template = { publicKeyDer: leafKey.publicKeyDer, names: { uris: overrides.uris ?? [URI] }, isCa: false };
  const times = { notBeforeMs: overrides.notBeforeMs ?? NOW - DAY, notAfterMs: overrides.notAfterMs ?? NOW + DAY };
  return der(buildCertificate({ ...template, ...times }, { key: by.key, subject: nameDer(by.name) }));
}

/** A revocation list of `by` that names these certificates. */
function revocationList(by: Authority, revoked: readonly Buffer[], signedBy: Authority = by): Buffer {
  const element = (tag: number, ...parts: Uint8Array[]): Buffer => {
    const content = Buffer.concat(parts);
    const length = content.length < 128 ? [content.length] : [0x82, content.length >> 8, content.length & 0xff];
    return Buffer.concat([Buffer.from([tag, ...length]), content]);
  };
  const time = (text: string): Buffer => element(0x17, Buffer.from(text));
  const algorithm = element(0x30, Buffer.from('06082a8648ce3d040302', 'hex'));
  const entries = revoked.map((certificate) => {
    const hex = parseCertificate(certificate).serial.toString(16).padStart(32, '0');
    return element(0x30, element(0x02, Buffer.from(hex, 'hex')), time('260101000000Z'));
  });
  const list = entries.length === 0 ? [] : [element(0x30, ...entries)];
  const body = element(
    0x30,
    element(0x02, Buffer.from([1])),
    algorithm,
    nameDer(by.name),
    time('260101000000Z'),
    time('260102000000Z'), // expired long ago: used all the same
    ...list,
  );
  return element(0x30, body, algorithm, element(0x03, Buffer.from([0]), signedBy.key.sign(body)));
}

const root = await authority('root');
const otherRoot = await authority('other');
const intermediate = await authority('middle', root);
const twin = await authority('middle', root); // same name, other key: a renewed intermediate
const bundle = parseTrustBundle(root.pem);
const check = { bundle, peerIs: 'client' as const, atMs: NOW, revocations: RevocationLists.none };

test('a chain leads over an intermediate to the root and says who the peer is', (t) => {
  const peer = verifyPeerChain([leaf(intermediate), intermediate.der], check);
  t.deepEqual(peer.identities, [{ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'cart' }]);
  t.is(peer.path.length, 3);
});
test('with two intermediates of one name the fitting one is found', (t) => {
  t.is(verifyPeerChain([leaf(twin), intermediate.der, twin.der], check).path.length, 3);
});
test('peers of two roots are accepted when both roots are in the bundle', (t) => {
  const joined = joinTrustBundles(bundle, parseTrustBundle(root.pem + otherRoot.pem));
  t.is(joined.roots.length, 2);
  t.notThrows(() => verifyPeerChain([leaf(root)], { ...check, bundle: joined }));
  t.notThrows(() => verifyPeerChain([leaf(otherRoot)], { ...check, bundle: joined }));
});

const refused = test.macro((t, presented: readonly Uint8Array[], code: string) => {
  t.throws(() => verifyPeerChain(presented, check), { instanceOf: MeshError, code });
});
test('nobody is refused', refused, [], 'ERR_TLS');
test('junk is refused', refused, [Buffer.from('junk')], 'ERR_TLS');
test('another root is refused', refused, [leaf(otherRoot)], 'ERR_TLS');
test('another root is refused also when it is presented', refused, [leaf(otherRoot), otherRoot.der], 'ERR_TLS');
test('a missing intermediate is refused', refused, [leaf(intermediate)], 'ERR_TLS');
test('an expired leaf is refused', refused, [leaf(root, { notAfterMs: NOW - 1_000 })], 'ERR_TLS');
test('a leaf of tomorrow is refused', refused, [leaf(root, { notBeforeMs: NOW + 1_000 })], 'ERR_TLS');
test('a leaf that signs is refused', refused, [leaf({ ...root, key: leafKey }), leaf(root)], 'ERR_TLS');
test('a leaf without an identity is refused', refused, [leaf(root, { uris: [] })], 'ERR_PEER_IDENTITY');
test('more certificates than anybody needs are refused', refused, new Array<Buffer>(17).fill(leaf(root)), 'ERR_TLS');

test('authorities that sign each other without end cost a bounded number of checks', async (t) => {
  const key = await PrivateKey.generate();
  const self = { publicKeyDer: key.publicKeyDer, organization: 'loop', names: {}, isCa: true };
  const times = { notBeforeMs: NOW - DAY, notAfterMs: NOW + DAY };
  const loop = Array.from({ length: 15 }, () =>
    der(buildCertificate({ ...self, ...times }, { key, subject: nameDer('loop') })),
  );
  const start = { key, name: 'loop', pem: '', der: Buffer.alloc(0) };
  t.throws(() => verifyPeerChain([leaf(start), ...loop], check), { code: 'ERR_TLS' });
});

test('a revoked leaf is refused, another one of the same issuer is not', (t) => {
  const revoked = leaf(root);
  const revocations = RevocationLists.parse(revocationList(root, [revoked]));
  t.throws(() => verifyPeerChain([revoked], { ...check, revocations }), { instanceOf: PeerRevokedError });
  t.notThrows(() => verifyPeerChain([leaf(root)], { ...check, revocations }));
});
test('a revoked intermediate takes its leaves with it, and its twin goes on', (t) => {
  const revocations = RevocationLists.parse(Buffer.from(toPem(revocationList(root, [intermediate.der]), CRL)));
  const chain = [leaf(intermediate), intermediate.der];
  t.throws(() => verifyPeerChain(chain, { ...check, revocations }), { instanceOf: PeerRevokedError });
  t.notThrows(() => verifyPeerChain([leaf(twin), twin.der], { ...check, revocations }));
});
test('a list of an intermediate revokes its leaves', (t) => {
  const revoked = leaf(intermediate);
  const revocations = RevocationLists.parse(revocationList(intermediate, [revoked]));
  const { path } = verifyPeerChain([revoked, intermediate.der], check);
  t.true(isPathRevoked(path, revocations));
  t.false(isPathRevoked(path, RevocationLists.none));
});
test('a list that the issuer did not sign revokes nothing', (t) => {
  const certificate = leaf(root);
  const revocations = RevocationLists.parse(revocationList(root, [certificate], otherRoot));
  t.notThrows(() => verifyPeerChain([certificate], { ...check, revocations }));
});
test('an empty file and an empty list revoke nothing', (t) => {
  t.is(RevocationLists.parse(Buffer.alloc(0)).size, 0);
  t.is(RevocationLists.parse(Buffer.from('\n')).size, 0);
  const empty = RevocationLists.parse(revocationList(root, []));
  t.is(empty.size, 1);
  t.notThrows(() => verifyPeerChain([leaf(root)], { ...check, revocations: empty }));
});
test('a file of another kind is refused', (t) => {
  t.throws(() => RevocationLists.parse(Buffer.from('hello')), { code: 'ERR_MALFORMED' });
  t.throws(() => RevocationLists.parse(Buffer.from([0x30, 0x03, 1, 2, 3])), { code: 'ERR_MALFORMED' });
});
test('damaged lists are read or refused, and never revoke what no list names', (t) => {
  const valid = revocationList(root, [leaf(root)]);
  const damaged = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 4 }).map((changes) => {
    const copy = Buffer.from(valid);
    for (const [at, value] of changes) copy[at % copy.length] = value;
    return copy;
  });
  const other = parseCertificate(leaf(root));
  const bytes = fc.oneof(damaged, fc.uint8Array({ maxLength: 300 }));
  fc.assert(
    fc.property(bytes, fc.boolean(), (der, asPem) => {
      try {
        const lists = RevocationLists.parse(asPem ? Buffer.from(toPem(der, CRL)) : der);
        t.false(lists.isRevoked(other, { publicKeyDer: root.key.publicKeyDer }));
      } catch (error) {
        if (!(error instanceof MeshError) || error.code !== 'ERR_MALFORMED') throw error;
      }
    }),
    { numRuns: 500 },
  );
  t.pass();
});

test('a workload certificate serves at both ends of a connection', (t) => {
  t.notThrows(() => verifyPeerChain([leaf(root)], { ...check, peerIs: 'server' }));
});

import test from 'ava';
import { selfSignedRoot } from '../../pki/ca-files.ts';
import { buildCertificate, nameDer } from '../../pki/certificate-builder.ts';
import { parseCertificateRequest } from '../../pki/certificate-request.ts';
import { buildCertificateRequest, PrivateKey } from '../../pki/index.ts';
import { ClusterAuthority } from './cluster-authority.ts';

const NOW = 1_700_000_000_000;
const URI = 'spiffe://cluster.local/ns/shop/sa/cart';
const clock = { nowMs: () => NOW, monotonicMs: () => NOW, sleep: async () => {} };

/** A cluster whose signer certifies `names`, and notes which signer was asked. */
async function setUp(names: { uris?: string[]; dnsNames?: string[] } = { uris: [URI] }, foreignRoot = false) {
  const rootKey = await PrivateKey.generate();
  const root = await selfSignedRoot(rootKey, 'cluster', NOW);
  const other = await selfSignedRoot(await PrivateKey.generate(), 'cluster', NOW);
  const asked: string[] = [];
  const authority = new ClusterAuthority({
    async sign({ csrPem, signerName, ttlSeconds }) {
      asked.push(signerName);
      const { publicKeyDer } = parseCertificateRequest(csrPem);
      const times = { notBeforeMs: NOW, notAfterMs: NOW + ttlSeconds * 1_000 };
      return buildCertificate(
        { publicKeyDer, names, isCa: false, ...times },
        { key: rootKey, subject: nameDer('cluster') },
      );
    },
    ...{ signerName: 'usual.example/signer', signerDomain: 'signers.example', clock },
    rootsPem: foreignRoot ? other.rootsPem : root.rootsPem,
  });
  const key = await PrivateKey.generate();
  const issue = (certSigner?: string, csrNames = { uris: [URI] }) => {
    const csrPem = buildCertificateRequest(csrNames, key);
    return authority.issue(key.publicKeyDer, [URI], 0, { ...parseCertificateRequest(csrPem), csrPem, certSigner });
  };
  return { authority, issue, asked };
}

test('the usual signer signs, or one of the domain that the caller names', async (t) => {
  const { issue, asked, authority } = await setUp();
  const chain = await issue();
  t.is(chain.at(-1), authority.rootsPem);
  await issue('second');
  t.deepEqual(asked, ['usual.example/signer', 'signers.example/second']);
  await t.throwsAsync(issue('../evil'), { code: 'ERR_MALFORMED' });
  t.is(asked.length, 2);
});

test('a request for another identity never reaches the signer', async (t) => {
  const { issue, asked } = await setUp();
  await t.throwsAsync(issue(undefined, { uris: ['spiffe://cluster.local/ns/shop/sa/admin'] }), {
    code: 'ERR_MALFORMED',
  });
  await t.throwsAsync(issue(undefined, { uris: [URI, URI] }), { code: 'ERR_MALFORMED' });
  t.deepEqual(asked, []);
});

test('a certificate with more names, or from another root, is refused', async (t) => {
  const more = await setUp({ uris: [URI], dnsNames: ['api.example.com'] });
  await t.throwsAsync(more.issue(), { code: 'ERR_CA', message: /other names/ });
  const foreign = await setUp({ uris: [URI] }, true);
  await t.throwsAsync(foreign.issue(), { code: 'ERR_CA', message: /EXTERNAL_CA_CERT_DIR/ });
});

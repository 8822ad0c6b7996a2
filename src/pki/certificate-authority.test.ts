import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Clock } from '../core/clock.ts';
import { selfSignedRoot } from './ca-files.ts';
import { type Certificate, parseCertificate } from './certificate.ts';
import { CertificateAuthority, DEFAULT_WORKLOAD_TTL_SECONDS } from './certificate-authority.ts';
import { buildCertificate, nameDer } from './certificate-builder.ts';
import { verifyPeerChain } from './peer-chain.ts';
import { CERTIFICATE, parsePem } from './pem.ts';
import { PrivateKey } from './private-key.ts';
import { RevocationLists } from './revocation-list.ts';
import { Svid } from './svid.ts';
import { parseTrustBundle } from './trust-bundle.ts';

const NOW = Date.UTC(2026, 5, 1);
const DAY = 86_400_000;
const clockAt = (ms: number): Clock => ({ nowMs: () => ms, monotonicMs: () => ms, sleep: async () => undefined });
const options = { trustDomain: 'cluster.local', clock: clockAt(NOW) };
const identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'cart' };
const URI = 'spiffe://cluster.local/ns/shop/sa/cart';
const key = await PrivateKey.generate();

async function folder(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'culvert-ca-test-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}
function first(pem: string | undefined): Certificate {
  const [der] = parsePem(pem ?? '', CERTIFICATE);
  return parseCertificate(der ?? Buffer.alloc(0));
}

test('the root is made once and found again', async (t) => {
  const path = join(await folder(t), 'ca');
  const made = await CertificateAuthority.open({ ...options, folder: path });
  const found = await CertificateAuthority.open({ ...options, folder: path });
  t.is(found.rootsPem, made.rootsPem);
  t.is(made.notAfterMs, NOW + 3_650 * DAY);
  t.deepEqual((await readdir(path)).sort(), ['ca-cert.pem', 'ca-key.pem', 'cert-chain.pem', 'root-cert.pem']);
  t.is((await stat(join(path, 'ca-key.pem'))).mode & 0o777, 0o600);
});

test('of two makers one wins and both have its root', async (t) => {
  const path = join(await folder(t), 'ca');
  const both = await Promise.all([1, 2].map(() => CertificateAuthority.open({ ...options, folder: path })));
  t.is(both[0]?.rootsPem, both[1]?.rootsPem);
});

test('an incomplete set is refused and left alone', async (t) => {
  const path = await folder(t);
  await writeFile(join(path, 'ca-key.pem'), key.reveal());
  await t.throwsAsync(CertificateAuthority.open({ ...options, folder: path }), {
    code: 'ERR_CONFIG',
    message: /incomplete/,
  });
  t.deepEqual(await readdir(path), ['ca-key.pem']);
});

test('a set whose parts do not fit is refused', async (t) => {
  const path = join(await folder(t), 'ca');
  await CertificateAuthority.open({ ...options, folder: path });
  await writeFile(join(path, 'ca-key.pem'), key.reveal());
  await t.throwsAsync(CertificateAuthority.open({ ...options, folder: path }), {
    code: 'ERR_CONFIG',
    message: /does not belong/,
  });
});

test('a leaf has the names and times it should have', async (t) => {
  const authority = await CertificateAuthority.ephemeral(options);
  const chain = authority.issue(key.publicKeyDer, [URI], 0);
  t.is(chain.length, 2);
  const leaf = first(chain[0]);
  t.deepEqual(leaf.uriNames, [URI]);
  t.is(leaf.notBeforeMs, NOW - 120_000);
  t.is(leaf.notAfterMs, NOW + DEFAULT_WORKLOAD_TTL_SECONDS * 1_000);
  t.is(chain[1], authority.rootsPem);
});
test('more than 90 days are refused', async (t) => {
  const authority = await CertificateAuthority.ephemeral(options);
  t.throws(() => authority.issue(key.publicKeyDer, [URI], 90 * 86_400 + 1), { code: 'ERR_LIMIT' });
  t.notThrows(() => authority.issue(key.publicKeyDer, [URI], 90 * 86_400));
});

test('plugged files sign over their intermediate, and nothing outlives the signer', async (t) => {
  const path = await folder(t);
  const rootKey = await PrivateKey.generate();
  const root = await selfSignedRoot(rootKey, 'corp', NOW - DAY);
  const signerKey = await PrivateKey.generate();
  const template = { publicKeyDer: signerKey.publicKeyDer, organization: 'mesh', names: {}, isCa: true };
  const signerPem = buildCertificate(
    { ...template, notBeforeMs: NOW - DAY, notAfterMs: NOW + 3_600_000 },
    { key: rootKey, subject: nameDer('corp') },
  );
  const plugged = join(path, 'cacerts');
  await mkdir(plugged);
  await writeFile(join(plugged, 'ca-cert.pem'), signerPem);
  await writeFile(join(plugged, 'ca-key.pem'), signerKey.reveal());
  await writeFile(join(plugged, 'cert-chain.pem'), signerPem);
  await writeFile(join(plugged, 'root-cert.pem'), root.rootsPem);
  const authority = await CertificateAuthority.open({
    ...options,
    pluggedFolder: plugged,
    folder: join(path, 'unused'),
  });
  t.deepEqual(await readdir(path), ['cacerts']);
  const svid = Svid.parse(identity, key, authority.issue(key.publicKeyDer, [URI], 0));
  t.is(svid.notAfterMs, NOW + 3_600_000);
  t.is(svid.chain.length, 2);
  const check = { bundle: parseTrustBundle(svid.rootsPem), peerIs: 'server' as const, atMs: NOW };
  t.is(
    verifyPeerChain(
      svid.chain.map((c) => c.der),
      { ...check, revocations: RevocationLists.none },
    ).path.length,
    3,
  );
  const late = await CertificateAuthority.open({
    ...options,
    clock: clockAt(NOW + 2 * DAY),
    pluggedFolder: plugged,
    folder: join(path, 'unused'),
  });
  t.throws(() => late.issue(key.publicKeyDer, [URI], 0), { code: 'ERR_CA' });
});

test('an own root is renewed in the last fifth of its life, with its key', async (t) => {
  const path = join(await folder(t), 'ca');
  const young = await CertificateAuthority.open({ ...options, folder: path });
  t.false(await young.renewRootIfDue());
  const clock = clockAt(NOW + 3_000 * DAY);
  const old = await CertificateAuthority.open({ ...options, clock, folder: path });
  t.not(old.rootsPem, young.rootsPem);
  t.deepEqual(first(old.rootsPem).publicKeyDer, first(young.rootsPem).publicKeyDer);
  t.is(await readFile(join(path, 'root-cert.pem'), 'utf8'), old.rootsPem);
  const svid = Svid.parse(identity, key, old.issue(key.publicKeyDer, [URI], 0));
  const check = { bundle: parseTrustBundle(young.rootsPem), peerIs: 'client' as const, atMs: clock.nowMs() };
  t.notThrows(() =>
    verifyPeerChain(
      svid.chain.map((c) => c.der),
      { ...check, revocations: RevocationLists.none },
    ),
  );
});

test('a server certificate has DNS names and addresses', async (t) => {
  const authority = await CertificateAuthority.ephemeral(options);
  const { certChainPem } = await authority.issueServer(['istiod.istio-system.svc'], ['10.0.0.1', 'fd00::1']);
  t.deepEqual(first(certChainPem).dnsNames, ['istiod.istio-system.svc']);
});

const answers = test.macro(async (t, pick: (chain: readonly string[]) => readonly string[], message: RegExp) => {
  const authority = await CertificateAuthority.ephemeral(options);
  const chain = authority.issue(key.publicKeyDer, [URI], 0);
  t.throws(() => Svid.parse(identity, key, pick(chain)), { code: 'ERR_CA', message });
});
test('an empty answer is an error', answers, () => [], /empty response/);
test('an answer without a root is an error', answers, ([leaf = '']) => [leaf], /no root certificate/);
test('an answer that cannot be read is an error', answers, ([leaf = '']) => [leaf, 'junk'], /no root certificate/);
test('a leaf that cannot be read is an error', answers, ([, root = '']) => ['junk', root], /no leaf/);
test('a certificate of another identity is an error', async (t) => {
  const authority = await CertificateAuthority.ephemeral(options);
  const chain = authority.issue(key.publicKeyDer, ['spiffe://cluster.local/ns/shop/sa/other'], 0);
  t.throws(() => Svid.parse(identity, key, chain), { code: 'ERR_CA', message: /SAN mismatch/ });
});
test('a certificate of another key is an error', async (t) => {
  const authority = await CertificateAuthority.ephemeral(options);
  const chain = authority.issue((await PrivateKey.generate()).publicKeyDer, [URI], 0);
  t.throws(() => Svid.parse(identity, key, chain), { code: 'ERR_CA', message: /another key/ });
});
test('intermediates and several roots are told apart', async (t) => {
  const authority = await CertificateAuthority.ephemeral(options);
  const [leaf = '', root = ''] = authority.issue(key.publicKeyDer, [URI], 0);
  const svid = Svid.parse(identity, key, [leaf, root, root, root + root]);
  t.is(svid.chain.length, 3);
  t.is(svid.roots.length, 2);
  t.false(JSON.stringify(svid, (_, value) => (typeof value === 'bigint' ? String(value) : value)).includes('PRIVATE'));
});

/** A folder with an operator's set: a signer under `root`, and these roots. */
async function plug(path: string, root: { key: PrivateKey; pem: string }, rootsPem: string): Promise<void> {
  const signerKey = await PrivateKey.generate();
  const times = { notBeforeMs: NOW - DAY, notAfterMs: NOW + 10 * DAY };
  const template = { publicKeyDer: signerKey.publicKeyDer, organization: 'mesh', names: {}, isCa: true, ...times };
  const signerPem = buildCertificate(template, { key: root.key, subject: nameDer('corp') });
  await mkdir(path, { recursive: true });
  await writeFile(join(path, 'ca-cert.pem'), signerPem);
  await writeFile(join(path, 'ca-key.pem'), signerKey.reveal());
  await writeFile(join(path, 'cert-chain.pem'), signerPem);
  await writeFile(join(path, 'root-cert.pem'), rootsPem);
}

async function makeRoot(): Promise<{ key: PrivateKey; pem: string }> {
  const rootKey = await PrivateKey.generate();
  return { key: rootKey, pem: (await selfSignedRoot(rootKey, 'corp', NOW - DAY)).rootsPem };
}

test('a plugged set is taken live under the same root, and under others only step by step', async (t) => {
  const path = join(await folder(t), 'cacerts');
  const [old, next] = [await makeRoot(), await makeRoot()];
  await plug(path, old, old.pem);
  const opened = { ...options, pluggedFolder: path, folder: join(path, 'unused') };
  const authority = await CertificateAuthority.open(opened);
  const careful = await CertificateAuthority.open({ ...opened, multiRoot: true });
  const signer = () => authority.issue(key.publicKeyDer, [URI], 0)[1];
  const before = signer();
  t.false(await authority.reloadPlugged());
  await plug(path, old, old.pem);
  t.true(await authority.reloadPlugged());
  t.not(signer(), before);
  t.is(authority.crlPem, undefined);
  await writeFile(join(path, 'ca-crl.pem'), 'lists');
  t.true(await authority.reloadPlugged());
  t.is(authority.crlPem, 'lists');
  const kept = signer();

  // Another root at once is refused by both, and what was there goes on.
  await plug(path, next, next.pem);
  await t.throwsAsync(authority.reloadPlugged(), { code: 'ERR_CONFIG', message: /MULTIROOT/ });
  await t.throwsAsync(careful.reloadPlugged(), { code: 'ERR_CONFIG', message: /add first/ });
  t.is(signer(), kept);
  // Both roots, then the new one alone.
  await plug(path, old, old.pem + next.pem);
  t.true(await careful.reloadPlugged());
  await plug(path, next, next.pem);
  t.true(await careful.reloadPlugged());
  t.is(careful.rootsPem, next.pem);
  // Half a set.
  await rm(join(path, 'ca-key.pem'));
  await t.throwsAsync(careful.reloadPlugged(), { code: 'ERR_CONFIG', message: /incomplete/ });
});

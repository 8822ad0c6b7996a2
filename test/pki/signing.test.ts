/** The certificate cache and client against the signing service: one process, real gRPC over TLS on loopback. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';
import { type ServiceError, status } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { callMetadata, openGrpcClient, type TextSource } from '../../src/core/grpc-endpoint.ts';
import { createGrpcServer, type GrpcServer, startGrpcServer } from '../../src/core/grpc-server.ts';
import { silentLogger } from '../../src/core/logger.ts';
import { systemClock } from '../../src/core/system-clock.ts';
import type { Authenticator } from '../../src/model/caller.ts';
import type { Identity } from '../../src/model/identity.ts';
import {
  addSigningService,
  CertificateAuthority,
  CertificateCache,
  type NodeAuthorizer,
  parseTrustBundle,
  RevocationLists,
  SigningClient,
  type Svid,
  verifyPeerChain,
} from '../../src/pki/index.ts';

const cart: Identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'cart' };
const stranger: Identity = { ...cart, serviceAccount: 'stranger' };

const authenticator: Authenticator = {
  async authenticate({ token, clusterId }) {
    if (token !== 'good-token') return undefined;
    const account = { trustDomain: 'cluster.local', namespace: 'istio-system', serviceAccount: 'ztunnel' };
    return { ...account, podName: 'ztunnel-1', podUid: 'u1', clusterId };
  },
};
/** The node of the caller runs pods of `shop/cart` only. */
const nodes: NodeAuthorizer = {
  mayImpersonate: async (caller, { namespace, serviceAccount }) =>
    caller.podUid === 'u1' && namespace === 'shop' && serviceAccount === 'cart',
};

interface Control extends AsyncDisposable {
  readonly port: number;
  readonly authority: CertificateAuthority;
  readonly results: string[];
  readonly server: GrpcServer;
}
async function startControl(parts: { port?: number; authority?: CertificateAuthority } = {}): Promise<Control> {
  const options = { trustDomain: 'cluster.local', clock: systemClock };
  const authority = parts.authority ?? (await CertificateAuthority.ephemeral(options));
  const { key, certChainPem } = await authority.issueServer(['localhost']);
  const grpc = createGrpcServer();
  const results: string[] = [];
  addSigningService(grpc, {
    authority,
    authenticator,
    nodes,
    trustedNodeAccounts: new Set(['istio-system/ztunnel']),
    log: silentLogger,
    onCall: (result) => results.push(result),
  });
  const tls = { privateKeyPem: key.reveal(), certChainPem };
  const server = await startGrpcServer(grpc, { host: '127.0.0.1', port: parts.port ?? 0, ...tls });
  return { port: server.port, authority, results, server, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

function client(control: Control, overrides: { roots?: TextSource; token?: TextSource | 'none' } = {}): SigningClient {
  return new SigningClient({
    endpoint: {
      address: `localhost:${control.port}`,
      roots: overrides.roots ?? { text: control.authority.rootsPem },
      token: overrides.token === 'none' ? undefined : (overrides.token ?? { text: 'good-token\n' }),
      headers: { clusterid: 'Kubernetes' },
    },
    ttlSeconds: 3_600,
    impersonate: true,
  });
}
const patient = () => AbortSignal.timeout(10_000);

test('the tunnel gets a certificate for a workload of its node', async (t) => {
  await using control = await startControl();
  await using signing = client(control);
  const svid = await signing.fetch(cart, patient());
  t.deepEqual(svid.identity, cart);
  t.is(svid.rootsPem, control.authority.rootsPem);
  const check = { bundle: parseTrustBundle(svid.rootsPem), peerIs: 'server' as const, atMs: Date.now() };
  const presented = svid.chain.map((certificate) => certificate.der);
  t.deepEqual(verifyPeerChain(presented, { ...check, revocations: RevocationLists.none }).identities, [cart]);
  t.deepEqual(control.results, ['issued']);
});

test('the platform accepts the certificates at both ends of a TLS 1.3 connection', async (t) => {
  await using control = await startControl();
  await using signing = client(control);
  const [server, peer] = await Promise.all([signing.fetch(cart, patient()), signing.fetch(cart, patient())]);
  const accepted = await handshake(server, peer);
  t.is(accepted.protocol, 'TLSv1.3');
  t.deepEqual(accepted.identities, [cart]);
});

/** One mutual handshake; answers what the server saw of its client. */
async function handshake(server: Svid, peer: Svid) {
  const seen = Promise.withResolvers<{ protocol: string | null; identities: readonly Identity[] }>();
  const tls = (svid: Svid) => ({
    key: svid.privateKeyPem,
    cert: svid.certChainPem,
    ca: svid.rootsPem,
    minVersion: 'TLSv1.3' as const,
  });
  const listener = createServer({ ...tls(server), requestCert: true, rejectUnauthorized: true }, (socket) => {
    const { raw } = socket.getPeerCertificate();
    const check = { bundle: parseTrustBundle(server.rootsPem), peerIs: 'client' as const, atMs: Date.now() };
    const { identities } = verifyPeerChain([raw], { ...check, revocations: RevocationLists.none });
    seen.resolve({ protocol: socket.getProtocol(), identities });
    socket.destroy();
  });
  listener.on('tlsClientError', (error) => seen.reject(error));
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const address = listener.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const socket = connect({ host: '127.0.0.1', port, ...tls(peer), checkServerIdentity: () => undefined });
  socket.on('error', (error) => seen.reject(error));
  try {
    return await seen.promise;
  } finally {
    socket.destroy();
    listener.close();
  }
}

const refused = test.macro(
  async (t: ExecutionContext, overrides: Parameters<typeof client>[1], identity: Identity, message: RegExp) => {
    await using control = await startControl();
    await using signing = client(control, overrides);
    await t.throwsAsync(signing.fetch(identity, patient()), { code: 'ERR_CA', message });
    t.false(control.results.includes('issued'));
  },
);
const IMPERSONATION = /request impersonation authentication failure/;
test('control: no token, no certificate', refused, { token: 'none' }, cart, /request authenticate failure/);
test(
  'control: a false token, no certificate',
  refused,
  { token: { text: 'forged' } },
  cart,
  /request authenticate failure/,
);
test('control: no pod of that account, no certificate', refused, {}, stranger, IMPERSONATION);
test(
  'control: a token file that is missing',
  refused,
  { token: { file: '/nonexistent/token' } },
  cart,
  /cannot read the token/,
);
test('control: a server of another root is not asked', async (t) => {
  await using control = await startControl();
  const other = await CertificateAuthority.ephemeral({ trustDomain: 'cluster.local', clock: systemClock });
  await using signing = client(control, { roots: { text: other.rootsPem } });
  await t.throwsAsync(signing.fetch(cart, patient()), { code: 'ERR_CA' });
  t.deepEqual(control.results, []);
});

test('control: a large message is refused, of strangers unread', async (t) => {
  await using control = await startControl();
  const roots = { text: control.authority.rootsPem };
  for (const [token, code] of [
    ['good-token', status.INVALID_ARGUMENT],
    ['forged', status.UNAUTHENTICATED],
  ] as const) {
    const endpoint = { address: `localhost:${control.port}`, roots, token: { text: token }, headers: {} };
    const grpc = await openGrpcClient(endpoint);
    const path = '/istio.v1.auth.IstioCertificateService/CreateCertificate';
    const metadata = await callMetadata(endpoint);
    const same = (bytes: Buffer): Buffer => bytes;
    const error = await new Promise<ServiceError | null>((resolve) => {
      grpc.makeUnaryRequest(path, same, same, Buffer.alloc(8_000_000), metadata, (refusal) => resolve(refusal));
    });
    t.is(error?.code, code);
    grpc.close();
  }
});

test('a replaced root file is seen by the next request', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'culvert-signing-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await using control = await startControl();
  const other = await CertificateAuthority.ephemeral({ trustDomain: 'cluster.local', clock: systemClock });
  const file = join(folder, 'root-cert.pem');
  await writeFile(file, other.rootsPem);
  await using signing = client(control, { roots: { file } });
  await t.throwsAsync(signing.fetch(cart, patient()), { code: 'ERR_CA' });
  await writeFile(file, control.authority.rootsPem);
  await t.notThrowsAsync(signing.fetch(cart, patient()));
});

test('certificates are had again as soon as the authority is back', async (t) => {
  const first = await startControl();
  const signing = client(first);
  await using cache = new CertificateCache({
    source: signing,
    clock: systemClock,
    log: silentLogger,
    random: Math.random,
    concurrency: 8,
  });
  const before = await cache.get(cart, patient());
  await first[Symbol.asyncDispose]();
  await t.throwsAsync(
    cache.get({ ...cart, namespace: 'shop', serviceAccount: 'cart', trustDomain: 'other' }, patient()),
    {
      code: 'ERR_IDENTITY',
    },
  );
  t.is((await cache.get(cart, patient())).version, before.version);
  await using second = await startControl({ port: first.port, authority: first.authority });
  cache.retryFailed();
  const other: Identity = { ...cart, trustDomain: 'other' };
  const deadline = performance.now() + 10_000;
  while (!cache.find(other) && performance.now() < deadline) {
    await systemClock.sleep(20);
    cache.retryFailed();
  }
  t.deepEqual(cache.find(other)?.identity, other);
  t.true(second.results.includes('issued'));
  await signing[Symbol.asyncDispose]();
});

import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { silentLogger } from '../core/logger.ts';
import { systemClock } from '../core/system-clock.ts';
import type { Caller } from '../model/caller.ts';
import { parseCertificate } from './certificate.ts';
import { CertificateAuthority } from './certificate-authority.ts';
import { buildCertificateRequest } from './certificate-builder.ts';
import { type CertificateCall, decodeCertificateCall, encodeCertificateCall } from './citadel-codec.ts';
import { CERTIFICATE, parsePem } from './pem.ts';
import { PrivateKey } from './private-key.ts';
import { type SigningDeps, type SigningResult, signCertificate } from './signing-decision.ts';

const key = await PrivateKey.generate();
const authority = await CertificateAuthority.ephemeral({ trustDomain: 'cluster.local', clock: systemClock });
const caller: Caller = {
  trustDomain: 'cluster.local',
  namespace: 'istio-system',
  serviceAccount: 'ztunnel',
  podName: 'ztunnel-1',
  podUid: 'u1',
  clusterId: 'Kubernetes',
};
const OWN = 'spiffe://cluster.local/ns/istio-system/sa/ztunnel';
const CART = 'spiffe://cluster.local/ns/shop/sa/cart';
const call: CertificateCall = {
  csrPem: buildCertificateRequest({ uris: ['spiffe://cluster.local/ns/evil/sa/admin'] }, key),
  validitySeconds: 86_400,
  impersonatedIdentity: CART,
};
const credentials = { token: 'good', clusterId: 'Kubernetes' };

function deps(overrides: Partial<SigningDeps> = {}): SigningDeps {
  return {
    authority,
    authenticator: { authenticate: async ({ token }) => (token === 'good' ? caller : undefined) },
    nodes: { mayImpersonate: async (_, requested) => requested.serviceAccount === 'cart' },
    trustedNodeAccounts: new Set(['istio-system/ztunnel']),
    log: silentLogger,
    ...overrides,
  };
}

async function issuedTo(t: ExecutionContext, overrides: Partial<CertificateCall>): Promise<readonly string[]> {
  const result = await signCertificate({ ...call, ...overrides }, credentials, deps());
  if (result.kind !== 'issued') throw new Error(`${t.title}: ${result.message}`);
  const [der] = parsePem(result.certChain[0] ?? '', CERTIFICATE);
  return parseCertificate(der ?? Buffer.alloc(0)).uriNames;
}

test('the certificate is for the workload that the tunnel asks for, whatever the request says', async (t) => {
  t.deepEqual(await issuedTo(t, {}), [CART]);
});
test('without impersonation it is for the caller', async (t) => {
  t.deepEqual(await issuedTo(t, { impersonatedIdentity: undefined }), [OWN]);
});

const refuses = test.macro(
  async (
    t,
    parts: { call?: Partial<CertificateCall>; token?: string | undefined; deps?: Partial<SigningDeps> },
    kind: SigningResult['kind'],
    message: string,
  ) => {
    const token = 'token' in parts ? parts.token : 'good';
    const seen: string[] = [];
    const all = deps({ ...parts.deps, onCall: (result) => seen.push(result) });
    const result = await signCertificate({ ...call, ...parts.call }, { token, clusterId: '' }, all);
    t.is(result.kind, kind);
    t.true(result.kind !== 'issued' && result.message.includes(message));
    t.deepEqual(seen, [kind]);
  },
);
const AUTH = 'request authenticate failure';
const IMPERSONATION = 'request impersonation authentication failure';
const broken = async (): Promise<never> => {
  throw new Error('the API server is away');
};
test('no token', refuses, { token: undefined }, 'unauthenticated', AUTH);
test('a false token', refuses, { token: 'forged' }, 'unauthenticated', AUTH);
test(
  'an authenticator that fails',
  refuses,
  { deps: { authenticator: { authenticate: broken } } },
  'unauthenticated',
  AUTH,
);
test(
  'no trusted accounts',
  refuses,
  { deps: { trustedNodeAccounts: new Set<string>() } },
  'unauthenticated',
  IMPERSONATION,
);
test(
  'no pod of that account on the node',
  refuses,
  { call: { impersonatedIdentity: OWN } },
  'unauthenticated',
  IMPERSONATION,
);
test(
  'a node check that fails',
  refuses,
  { deps: { nodes: { mayImpersonate: broken } } },
  'unauthenticated',
  IMPERSONATION,
);
test(
  'an identity of another form',
  refuses,
  { call: { impersonatedIdentity: 'cart' } },
  'unauthenticated',
  IMPERSONATION,
);
test(
  'an identity with a line feed',
  refuses,
  { call: { impersonatedIdentity: 'spiffe://td/ns/a\n/sa/cart' } },
  'unauthenticated',
  IMPERSONATION,
);
test('a request that is none', refuses, { call: { csrPem: 'hello' } }, 'invalid', 'CSR signing error');
test('a lifetime above the maximum', refuses, { call: { validitySeconds: 91 * 86_400 } }, 'invalid', 'greater than');

test('calls survive the wire', (t) => {
  const arbitrary = fc.record({
    csrPem: fc.string(),
    validitySeconds: fc.integer(),
    impersonatedIdentity: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
    certSigner: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
  });
  fc.assert(
    fc.property(arbitrary, (value) => void t.deepEqual(decodeCertificateCall(encodeCertificateCall(value)), value)),
  );
});
test('foreign bytes are decoded or refused', (t) => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      try {
        decodeCertificateCall(bytes);
        return true;
      } catch (error) {
        return error instanceof Error && 'code' in error && error.code === 'ERR_MALFORMED';
      }
    }),
  );
  t.pass();
});

/**
 * Policies and tokens at a waypoint, with the book shop's real processes: judged by the answers that clients get, and by
 * what reaches a pod past its waypoint.
 */
import anyTest, { type TestFn } from 'ava';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { SHOP } from '../../src/cli/demo-stage.ts';
import { type KubeObject, removeObjects, storeObjects } from '../../src/local/index.ts';
import { eventually } from '../local/cluster-fixture.ts';
import { startWaypointShop, type WaypointFixture } from './waypoint-fixture.ts';

const test = anyTest as TestFn<WaypointFixture>;
const DETAILS = 'http://details:9080/details/0';
const ISSUER = 'https://issuer.test';

test.before(async (t) => {
  t.timeout(240_000);
  t.context = await startWaypointShop();
  await t.context.apply('waypoint.yaml');
  await eventually('the waypoint is ready', async () => (await t.context.replicas()).length === 1 || undefined, 60_000);
  await t.context.bind();
});
test.after.always(async (t) => {
  await t.context?.[Symbol.asyncDispose]?.();
});

/** Status of an answer, 0 for none. */
async function status({ stage }: WaypointFixture, url: string, ...args: string[]): Promise<number> {
  const { stdout } = await stage.exec(
    'productpage',
    'curl',
    '-s',
    '-o',
    '/dev/null',
    '-m',
    '5',
    '-w',
    '%{http_code}',
    ...args,
    url,
  );
  return Number(stdout.trim());
}

async function becomes(context: WaypointFixture, expected: number, url: string, ...args: string[]): Promise<void> {
  await eventually(
    `${args.join(' ')} ${url} answers ${expected}`,
    async () => ((await status(context, url, ...args)) === expected ? true : undefined),
    20_000,
  );
}

test.serial('control: without a policy every method passes, and tokens are not looked at', async (t) => {
  t.is(await status(t.context, DETAILS), 200);
  t.not(await status(t.context, DETAILS, '-X', 'POST'), 403);
  t.is(await status(t.context, DETAILS, '-H', 'authorization: Bearer nonsense'), 200);
});

test.serial(
  'a selector policy with methods is enforced whole at the waypoint, and pods let nobody else in',
  async (t) => {
    const { context } = t;
    const pod = (await context.stage.pods()).find(({ metadata }) => metadata.labels?.app === 'details');
    const direct = `http://${pod?.status?.podIP ?? ''}:9080/details/0`;
    t.is(await status(context, direct), 200, 'before, the pod answers directly');
    await context.apply('methods.yaml');
    await becomes(context, 403, DETAILS, '-X', 'POST');
    t.is(await status(context, DETAILS), 200);
    t.is(await status(context, 'http://details:9080/health'), 403, 'a path that is not allowed');
    t.is(await status(context, 'http://details:9080/details/../health', '--path-as-is'), 403, 'nor by a detour');
    await eventually('the pod refuses what did not pass its waypoint', async () =>
      (await status(context, direct)) === 0 ? true : undefined,
    );
    const { stdout } = await context.stage.exec('productpage', 'curl', '-s', '-m', '5', '-X', 'POST', DETAILS);
    t.is(stdout, 'RBAC: access denied');
    t.true((await context.metric('istio_requests_total', { response_code: '403' })) > 0);
    await context.remove('methods.yaml');
    await becomes(context, 200, direct);
  },
);

test.serial('tokens are checked: none passes as nobody, a bad one is 401, a required one is 403 without', async (t) => {
  const { context } = t;
  const { resourceDir } = context.cluster.plan;
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k' }] });
  const sign = (claims: Record<string, unknown>) =>
    new SignJWT({ iss: ISSUER, sub: 'bob', ...claims })
      .setProtectedHeader({ alg: 'ES256', kid: 'k' })
      .setExpirationTime('1h')
      .sign(privateKey);
  const object = (kind: string, name: string, spec: object): KubeObject =>
    ({ apiVersion: 'security.istio.io/v1', kind, metadata: { name, namespace: SHOP }, spec }) as KubeObject;
  const selector = { matchLabels: { app: 'details' } };
  const objects = [
    object('RequestAuthentication', 'jwt', { selector, jwtRules: [{ issuer: ISSUER, jwks }] }),
    object('AuthorizationPolicy', 'require-jwt', {
      selector,
      rules: [
        {
          from: [{ source: { requestPrincipals: [`${ISSUER}/*`] } }],
          when: [{ key: 'request.auth.claims[role]', values: ['admin'] }],
        },
      ],
    }),
  ];
  await storeObjects(resourceDir, objects);
  await becomes(context, 403, DETAILS);
  const bearer = (token: string) => ['-H', `authorization: Bearer ${token}`];
  t.is(await status(context, DETAILS, ...bearer(await sign({ role: 'admin' }))), 200);
  t.is(await status(context, DETAILS, ...bearer(await sign({ role: 'user' }))), 403);
  t.is(await status(context, DETAILS, ...bearer('nonsense')), 401);
  t.is(await status(context, `${DETAILS}?access_token=${await sign({ role: 'admin' })}`), 200);
  const { stdout } = await context.stage.exec('productpage', 'curl', '-si', '-m', '5', ...bearer('a.b.c'), DETAILS);
  t.regex(stdout, /^www-authenticate: Bearer realm="[^"]+", error="invalid_token"/m);
  await removeObjects(resourceDir, objects);
  await becomes(context, 200, DETAILS);
});

import test from 'ava';
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import type { Clock } from '../../core/clock.ts';
import type { JwtRule } from '../../model/l7/index.ts';
import { HeaderList } from '../http/header-list.ts';
import { discoverKeys, inlineKeys, parseKeySet, RemoteKeys } from './key-source.ts';
import { findTokens } from './token-locations.ts';
import { verifyToken } from './verify-token.ts';

const ISSUER = 'https://a.example';
const NOW_MS = 1_800_000_000_000;
const RULE: JwtRule = {
  issuer: ISSUER,
  audiences: [],
  jwks: '',
  jwksUri: '',
  fetchTimeoutMs: 1_000,
  fromHeaders: [],
  fromParams: [],
  fromCookies: [],
  outputPayloadToHeader: '',
  forwardOriginalToken: false,
  outputClaimToHeaders: [],
  spaceDelimitedClaims: [],
};

async function signer(alg: string, kid: string) {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const key: JWK = { ...(await exportJWK(publicKey)), kid };
  const sign = (claims: Record<string, unknown>) =>
    new SignJWT({ iss: ISSUER, sub: 'bob', ...claims }).setProtectedHeader({ alg, kid }).sign(privateKey);
  return { key, sign };
}

const keySet = (...keys: JWK[]): string => JSON.stringify({ keys });
const ticking = (): Clock & { now: number } => {
  const clock = { now: 0, monotonicMs: () => clock.now, nowMs: () => clock.now, sleep: async () => {} };
  return clock as unknown as Clock & { now: number }; // what key sources use of a clock
};

for (const alg of ['ES256', 'RS256', 'PS384', 'EdDSA']) {
  test(`${alg} tokens are verified, and only with the right key`, async (t) => {
    const [right, wrong] = [await signer(alg, 'k'), await signer(alg, 'k')];
    const token = await right.sign({ aud: 'api', exp: NOW_MS / 1_000 });
    const check = (key: JWK) => verifyToken(token, RULE, { source: inlineKeys(keySet(key)), nowMs: NOW_MS });
    t.like(await check(right.key), { valid: true });
    t.deepEqual(await check(wrong.key), { valid: false, reason: 'Jwt verification fails' });
  });
}

test('what is wrong with a token is told in Envoy’s words', async (t) => {
  const { key, sign } = await signer('ES256', 'k');
  const source = inlineKeys(keySet(key));
  const reasonOf = async (token: string, rule: Partial<JwtRule> = {}) => {
    const result = await verifyToken(token, { ...RULE, ...rule }, { source, nowMs: NOW_MS });
    return result.valid ? 'valid' : result.reason;
  };
  const seconds = NOW_MS / 1_000;
  t.is(await reasonOf(await sign({ exp: seconds - 59 })), 'valid');
  t.is(await reasonOf(await sign({ exp: seconds - 61 })), 'Jwt is expired');
  t.is(await reasonOf(await sign({ nbf: seconds + 61 })), 'Jwt not yet valid');
  t.is(await reasonOf(await sign({ iss: 'other' })), 'Jwt issuer is not configured');
  t.is(await reasonOf(await sign({ aud: ['x'] }), { audiences: ['api'] }), 'Audiences in Jwt are not allowed');
  t.regex(await reasonOf('nonsense'), /two dots/);
  const [head = '', payload = ''] = (await sign({})).split('.');
  t.is(await reasonOf(`${head}.${payload}.AAAA`), 'Jwt verification fails');
  const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`;
  t.not(await reasonOf(none), 'valid');
});

test('a rotated key is found without a refused request, and known keys serve on while the issuer is silent', async (t) => {
  const [old, fresh] = [await signer('ES256', 'old'), await signer('ES256', 'new')];
  const clock = ticking();
  let answer: string | undefined = keySet(old.key);
  let fetches = 0;
  const source = new RemoteKeys(async () => {
    fetches += 1;
    if (answer === undefined) throw new Error('silent');
    return answer;
  }, clock);
  const isValid = async (token: string) => (await verifyToken(token, RULE, { source, nowMs: NOW_MS })).valid;
  t.true(await isValid(await old.sign({})));
  answer = keySet(old.key, fresh.key);
  clock.now += 6_000;
  t.true(await isValid(await fresh.sign({})));
  answer = undefined;
  clock.now += 3_600_000;
  t.true(await isValid(await old.sign({})));
  const before = fetches;
  const stranger = await signer('ES256', 'stranger');
  for (let i = 0; i < 10; i++) t.false(await isValid(await stranger.sign({})));
  t.true(fetches <= before + 1, 'tokens of strangers do not make a fetch each');
});

test('keys are discovered by the issuer’s OpenID configuration; what is no key set is refused', async (t) => {
  const asked: string[] = [];
  const text = await discoverKeys(`${ISSUER}/`, 1, async (uri) => {
    asked.push(uri);
    return uri.endsWith('configuration') ? '{"jwks_uri":"https://k.example/keys"}' : keySet();
  });
  t.deepEqual(parseKeySet(text), []);
  t.deepEqual(asked, [`${ISSUER}/.well-known/openid-configuration`, 'https://k.example/keys']);
  for (const bad of ['', 'null', '[]', '{"keys":1}']) t.throws(() => parseKeySet(bad), { code: 'ERR_MALFORMED' });
});

test('tokens are found in every place and taken out of it', (t) => {
  const carrier = {
    headers: new HeaderList(['authorization', 'Bearer one', 'x-token', 'v=two', 'cookie', 'a=1; session=three']),
    query: '?access_token=four&q=1',
  };
  t.deepEqual(
    findTokens(carrier, RULE).map(({ token }) => token),
    ['one', 'four'],
  );
  const rule = {
    ...RULE,
    fromHeaders: [{ name: 'x-token', prefix: 'v=' }],
    fromParams: ['access_token'],
    fromCookies: ['session'],
  };
  const found = findTokens(carrier, rule);
  t.deepEqual(
    found.map(({ token }) => token),
    ['two', 'four', 'three'],
  );
  for (const { remove } of found) remove(carrier);
  t.is(carrier.query, '?q=1');
  t.is(carrier.headers.get('cookie'), 'a=1');
  t.false(carrier.headers.has('x-token'));
});

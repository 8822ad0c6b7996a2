/** One token against one rule. Source: RFC 7519, RFC 7515; the words of a refusal are Envoy's. */
import { compactVerify, decodeJwt, decodeProtectedHeader, importJWK, type JWK } from 'jose';
import type { JwtRule } from '../../model/l7/index.ts';
import type { JwtFacts } from './jwt-facts.ts';
import type { KeySource } from './key-source.ts';

export type Verified =
  | { readonly valid: true; readonly facts: JwtFacts /** base64url. */; readonly payload: string }
  | { readonly valid: false; readonly reason: string };

const SKEW_SECONDS = 60;
/** Nobody sends more in a header; verifying costs by length. */
const MAX_TOKEN_CHARS = 16_384;
const ALGORITHMS: ReadonlySet<string> = new Set(
  ['ES', 'HS', 'RS', 'PS'].flatMap((family) => [`${family}256`, `${family}384`, `${family}512`]).concat('EdDSA'),
);
const MALFORMED = 'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections';

/** Never rejects. */
export async function verifyToken(
  token: string,
  rule: JwtRule,
  { source, nowMs }: { readonly source: KeySource; readonly nowMs: number },
): Promise<Verified> {
  const no = (reason: string): Verified => ({ valid: false, reason });
  if (token.length > MAX_TOKEN_CHARS) return no('Jwt is too large');
  let header: ReturnType<typeof decodeProtectedHeader>;
  let claims: ReturnType<typeof decodeJwt>;
  try {
    header = decodeProtectedHeader(token);
    claims = decodeJwt(token);
  } catch {
    return no(MALFORMED);
  }
  if (claims.iss !== rule.issuer) return no('Jwt issuer is not configured');
  const seconds = nowMs / 1_000;
  if (typeof claims.nbf === 'number' && claims.nbf > seconds + SKEW_SECONDS) return no('Jwt not yet valid');
  if (typeof claims.exp === 'number' && claims.exp < seconds - SKEW_SECONDS) return no('Jwt is expired');
  const audiences = typeof claims.aud === 'string' ? [claims.aud] : (claims.aud ?? []);
  if (rule.audiences.length > 0 && !rule.audiences.some((one) => audiences.includes(one))) {
    return no('Audiences in Jwt are not allowed');
  }
  const { alg = '', kid } = header;
  if (!ALGORITHMS.has(alg)) return no('Jwt header [alg] is not supported');
  const reason = await verifySignature(token, { alg, kid, source });
  if (reason !== undefined) return no(reason);
  const facts: JwtFacts = {
    issuer: rule.issuer,
    subject: typeof claims.sub === 'string' ? claims.sub : '',
    audiences,
    presenter: typeof claims.azp === 'string' ? claims.azp : '',
    claims,
    spaceDelimited: rule.spaceDelimitedClaims,
  };
  return { valid: true, facts, payload: token.split('.')[1] ?? '' };
}

/** Undefined: one of the keys made it. */
async function verifySignature(
  token: string,
  { alg, kid, source }: { readonly alg: string; readonly kid: string | undefined; readonly source: KeySource },
): Promise<string | undefined> {
  let keys: readonly JWK[];
  try {
    keys = await source.keys();
    if (!keys.some((key) => fits(key, alg, kid))) keys = await source.refreshed();
  } catch {
    return 'Jwks remote fetch is failed';
  }
  const candidates = keys.filter((key) => fits(key, alg, kid));
  if (candidates.length === 0) return "Jwks doesn't have key to match kid or alg from Jwt";
  for (const key of candidates) {
    try {
      await compactVerify(token, await importJWK(key, alg), { algorithms: [alg] });
      return undefined;
    } catch {
      // another key may be the one
    }
  }
  return 'Jwt verification fails';
}

const KEY_TYPES: Readonly<Record<string, string>> = { ES: 'EC', HS: 'oct', RS: 'RSA', PS: 'RSA', Ed: 'OKP' };

function fits(key: JWK, alg: string, kid: string | undefined): boolean {
  if (key.kty !== KEY_TYPES[alg.slice(0, 2)]) return false;
  if (kid !== undefined && key.kid !== undefined && key.kid !== kid) return false;
  return (key.alg === undefined || key.alg === alg) && (key.use === undefined || key.use === 'sig');
}

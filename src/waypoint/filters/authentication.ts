/**
 * RequestAuthentication: a token that is there must be valid, a request without one goes on as nobody's. Headers that
 * tell claims to the endpoint are never the client's own.
 * Source: Istio RequestAuthentication, Envoy jwt_authn (words of a refusal).
 */
import type { JwtRule } from '../../model/l7/index.ts';
import type { Exchange } from '../http/exchange.ts';
import { HeaderList } from '../http/header-list.ts';
import type { Reply } from '../http/reply.ts';
import { claimTexts, type JwtFacts } from '../jwt/jwt-facts.ts';
import type { KeySource } from '../jwt/key-source.ts';
import { type FoundToken, findTokens } from '../jwt/token-locations.ts';
import { verifyToken } from '../jwt/verify-token.ts';
import { JWT } from '../policy/policy-request.ts';
import type { FilterFactory } from './filter.ts';

interface CompiledRule {
  readonly rule: JwtRule;
  readonly source: KeySource;
}

const UNKNOWN_POLICY: Reply = {
  status: 401,
  body: 'Jwt verification fails',
  flag: '',
  details: 'jwt_authn_access_denied{unknown_policy}',
};

export const authentication: FilterFactory = {
  name: 'authentication',
  compile({ gateway, service, config, deps }) {
    const keys = new Set([...gateway.authentications, ...service.authentications]);
    if (keys.size === 0) return undefined;
    const policies = [...keys].map((key) => config.findAuthentication(key));
    if (policies.includes(undefined)) return { request: () => UNKNOWN_POLICY };
    const rules = policies.flatMap((policy) =>
      (policy?.rules ?? []).map((rule): CompiledRule => ({ rule, source: deps.keys.sourceOf(rule) })),
    );
    if (rules.length === 0) return undefined;
    return {
      request(exchange) {
        if (isPreflight(exchange)) return undefined;
        const carried = rules.map(({ rule }) => findTokens(exchange, rule));
        for (const { rule } of rules) removeOutputs(exchange, rule);
        if (carried.every((tokens) => tokens.length === 0)) return undefined;
        return verify(exchange, rules, { carried, nowMs: deps.clock.nowMs() });
      },
    };
  },
};

async function verify(
  exchange: Exchange,
  rules: readonly CompiledRule[],
  { carried, nowMs }: { readonly carried: readonly (readonly FoundToken[])[]; readonly nowMs: number },
): Promise<Reply | undefined> {
  let refusal: string | undefined;
  let accepted: JwtFacts | undefined;
  for (const [index, { rule, source }] of rules.entries()) {
    for (const { token, remove } of carried[index] ?? []) {
      const result = await verifyToken(token, rule, { source, nowMs });
      if (!result.valid) {
        // That another issuer's rule does not know the token says less than what its own found wrong.
        if (refusal === undefined || refusal === 'Jwt issuer is not configured') refusal = result.reason;
        continue;
      }
      accepted ??= result.facts;
      if (!rule.forwardOriginalToken) remove(exchange);
      putOutputs(exchange, rule, result);
      break;
    }
  }
  if (accepted) {
    exchange.metadata.set(JWT, accepted);
    return undefined;
  }
  return refusal === undefined ? undefined : refused(exchange, refusal);
}

function removeOutputs({ headers }: Exchange, { outputPayloadToHeader, outputClaimToHeaders }: JwtRule): void {
  if (outputPayloadToHeader !== '') headers.delete(outputPayloadToHeader);
  for (const { header } of outputClaimToHeaders) headers.delete(header);
}

function putOutputs(
  { headers }: Exchange,
  { outputPayloadToHeader, outputClaimToHeaders }: JwtRule,
  { facts, payload }: { readonly facts: JwtFacts; readonly payload: string },
): void {
  if (outputPayloadToHeader !== '') headers.set(outputPayloadToHeader, payload);
  for (const { header, claim } of outputClaimToHeaders) {
    const [value] = claimTexts({ ...facts, spaceDelimited: [] }, claim.split('.'));
    if (value !== undefined && !UNSENDABLE.test(value)) headers.set(header, value);
  }
}

const UNSENDABLE = /[^\t\x20-\x7e\x80-\xff]/;

function refused({ scheme, requestAuthority, requestPath }: Exchange, reason: string): Reply {
  const realm = `${scheme}://${requestAuthority}${requestPath}`.replace(/["\\]/g, '');
  return {
    status: 401,
    body: reason,
    headers: new HeaderList(['www-authenticate', `Bearer realm="${realm}", error="invalid_token"`]),
    flag: '',
    details: `jwt_authn_access_denied{${reason.replaceAll(' ', '_')}}`,
  };
}

function isPreflight({ method, headers }: Exchange): boolean {
  return method === 'OPTIONS' && headers.has('origin') && headers.has('access-control-request-method');
}

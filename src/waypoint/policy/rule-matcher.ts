/**
 * Rules of authorization policies compiled to predicates. What only requests have never matches a connection: its rule
 * does not allow one, and in rules that deny it is not asked for.
 * Source: Istio AuthorizationPolicy (fields, conditions, wildcards).
 */
import type { IpRange } from '../../model/address.ts';
import type { ServiceAccountMatch } from '../../model/authorization.ts';
import { compileRange, parseIp, rangeContains } from '../../model/ip.ts';
import type {
  HttpAuthorization,
  HttpPolicyRule,
  PolicyCondition,
  PolicyOperation,
  PolicyPath,
  PolicySource,
  TextMatch,
} from '../../model/l7/index.ts';
import { claimTexts } from '../jwt/jwt-facts.ts';
import { compileText, type TextPredicate } from '../match/text-matcher.ts';
import { compileTemplate } from './path-template.ts';
import type { HttpFacts, PolicyRequest } from './policy-request.ts';

export type RulePredicate = (request: PolicyRequest) => boolean;

/** Of what the rule asks: `undefined` for what does not apply to a connection. */
type Test = (request: PolicyRequest) => boolean | undefined;

/** Throws ERR_MALFORMED for an expression that cannot be used. */
export function compileRule(rule: HttpPolicyRule, action: HttpAuthorization['action']): RulePredicate {
  const groups: Test[][][] = [];
  if (rule.sources.length > 0) groups.push(rule.sources.map(sourceTests));
  if (rule.operations.length > 0) groups.push(rule.operations.map(operationTests));
  for (const condition of rule.conditions) groups.push([conditionTests(condition)]);
  // A connection has no method: an ALLOW that asks for one is none for it, a DENY is one for all it may be.
  const forConnections = action === 'DENY' || action === 'CUSTOM';
  const holds = (test: Test, request: PolicyRequest): boolean => test(request) ?? forConnections;
  return (request) => groups.every((group) => group.some((tests) => tests.every((test) => holds(test, request))));
}

function sourceTests(source: PolicySource): Test[] {
  const jwtPrincipal = (http: HttpFacts): string | undefined => http.jwt && `${http.jwt.issuer}/${http.jwt.subject}`;
  return [
    ...texts(source.principals, source.notPrincipals, ({ client }) => client.principal),
    ...httpTexts(source.requestPrincipals, source.notRequestPrincipals, jwtPrincipal),
    ...texts(source.namespaces, source.notNamespaces, ({ client }) => client.identity.namespace),
    ...texts(source.trustDomains, source.notTrustDomains, ({ client }) => client.identity.trustDomain),
    ...both(source.serviceAccounts, source.notServiceAccounts, accounts),
    ...both(source.ipRanges, source.notIpRanges, (ranges) => addresses(ranges, ({ client }) => client.ip)),
    ...both(source.remoteIpRanges, source.notRemoteIpRanges, (ranges) => addresses(ranges, remoteIp)),
  ];
}

function operationTests(operation: PolicyOperation): Test[] {
  return [
    ...httpTexts(operation.hosts, operation.notHosts, ({ exchange }) => exchange.requestAuthority),
    ...both(operation.ports, operation.notPorts, (ports) => (request) => ports.includes(request.destinationPort)),
    ...httpTexts(operation.methods, operation.notMethods, ({ exchange }) => exchange.method),
    ...both(operation.paths, operation.notPaths, paths),
  ];
}

function conditionTests(condition: PolicyCondition): Test[] {
  const { key, values, notValues, ipRanges, notIpRanges } = condition;
  const ip = IP_KEYS.get(key);
  if (ip) return both(ipRanges, notIpRanges, (ranges) => addresses(ranges, ip));
  const text = TEXT_KEYS.get(key);
  if (text) return texts(values, notValues, text);
  const header = /^request\.headers\[(.+)\]$/.exec(key)?.[1]?.toLowerCase();
  if (header !== undefined) return httpTexts(values, notValues, ({ exchange }) => exchange.headers.get(header));
  return both(values, notValues, (given) => {
    const predicates = given.map(compileText);
    return ({ http }) => http && jwtTexts(http, key).some((one) => predicates.some((holds) => holds(one)));
  });
}

const IP_KEYS: ReadonlyMap<string, (request: PolicyRequest) => string | undefined> = new Map([
  ['source.ip', ({ client }: PolicyRequest) => client.ip],
  ['destination.ip', ({ destinationIp }: PolicyRequest) => destinationIp],
  ['remote.ip', remoteIp],
]);

const TEXT_KEYS: ReadonlyMap<string, (request: PolicyRequest) => string> = new Map([
  ['source.namespace', ({ client }: PolicyRequest) => client.identity.namespace],
  ['source.principal', ({ client }: PolicyRequest) => client.principal],
  [
    'source.serviceAccount',
    ({ client: { identity } }: PolicyRequest) => `${identity.namespace}/${identity.serviceAccount}`,
  ],
  ['source.trustDomain', ({ client }: PolicyRequest) => client.identity.trustDomain],
  ['destination.port', ({ destinationPort }: PolicyRequest) => String(destinationPort)],
  ['connection.sni', ({ serverName }: PolicyRequest) => serverName],
]);

function remoteIp({ http }: PolicyRequest): string | undefined {
  return http?.remoteIp;
}

/** Texts of `request.auth.*`; none without a token. */
function jwtTexts({ jwt }: HttpFacts, key: string): readonly string[] {
  if (!jwt) return [];
  if (key === 'request.auth.principal') return [`${jwt.issuer}/${jwt.subject}`];
  if (key === 'request.auth.audiences') return jwt.audiences;
  if (key === 'request.auth.presenter') return [jwt.presenter];
  const path = [...key.matchAll(/\[([^\]]+)\]/g)].map(([, step]) => step ?? '');
  return claimTexts(jwt, path);
}

/** A list that is empty asks for nothing. */
function both<T>(positive: readonly T[], negative: readonly T[], compile: (values: readonly T[]) => Test): Test[] {
  const tests: Test[] = [];
  if (positive.length > 0) tests.push(compile(positive));
  if (negative.length > 0) {
    const test = compile(negative);
    tests.push((request) => {
      const result = test(request);
      return result === undefined ? undefined : !result;
    });
  }
  return tests;
}

function texts(
  positive: readonly TextMatch[],
  negative: readonly TextMatch[],
  of: (request: PolicyRequest) => string,
): Test[] {
  return both(positive, negative, (values) => {
    const predicates = values.map(compileText);
    return (request) => anyHolds(predicates, of(request));
  });
}

/** What is absent matches nothing. */
function httpTexts(
  positive: readonly TextMatch[],
  negative: readonly TextMatch[],
  of: (http: HttpFacts) => string | undefined,
): Test[] {
  return both(positive, negative, (values) => {
    const predicates = values.map(compileText);
    return ({ http }) => {
      if (!http) return undefined;
      const text = of(http);
      return text !== undefined && anyHolds(predicates, text);
    };
  });
}

function paths(values: readonly PolicyPath[]): Test {
  const predicates = values.map(({ kind, match, template }) =>
    kind === 'TEMPLATE' || !match ? compileTemplate(template) : compileText(match),
  );
  return ({ http }) => http && anyHolds(predicates, http.exchange.path);
}

function accounts(values: readonly ServiceAccountMatch[]): Test {
  return ({ client: { identity } }) =>
    values.some((one) => one.namespace === identity.namespace && one.serviceAccount === identity.serviceAccount);
}

function addresses(values: readonly IpRange[], of: (request: PolicyRequest) => string | undefined): Test {
  const ranges = values.flatMap((range) => compileRange(range) ?? []);
  return (request) => {
    const text = of(request);
    if (text === undefined) return undefined;
    const ip = parseIp(text);
    return ip !== undefined && ranges.some((range) => rangeContains(range, ip));
  };
}

function anyHolds(predicates: readonly TextPredicate[], text: string): boolean {
  for (const holds of predicates) if (holds(text)) return true;
  return false;
}

import test from 'ava';
import fc from 'fast-check';
import type {
  HttpAuthorization,
  HttpPolicyRule,
  PolicyOperation,
  PolicySource,
  TextMatch,
} from '../../model/l7/index.ts';
import { HeaderList } from '../http/header-list.ts';
import type { JwtFacts } from '../jwt/jwt-facts.ts';
import { compileTemplate } from './path-template.ts';
import type { PolicyRequest } from './policy-request.ts';
import { PolicySet } from './policy-set.ts';

const exact = (value: string): TextMatch => ({ kind: 'EXACT', value, ignoreCase: false });
const SOURCE: PolicySource = {
  principals: [],
  notPrincipals: [],
  requestPrincipals: [],
  notRequestPrincipals: [],
  namespaces: [],
  notNamespaces: [],
  serviceAccounts: [],
  notServiceAccounts: [],
  trustDomains: [],
  notTrustDomains: [],
  ipRanges: [],
  notIpRanges: [],
  remoteIpRanges: [],
  notRemoteIpRanges: [],
};
const OPERATION: PolicyOperation = {
  hosts: [],
  notHosts: [],
  ports: [],
  notPorts: [],
  methods: [],
  notMethods: [],
  paths: [],
  notPaths: [],
};
const rule = (part: Partial<HttpPolicyRule>): HttpPolicyRule => ({
  sources: [],
  operations: [],
  conditions: [],
  ...part,
});
const policy = (action: HttpAuthorization['action'], rules: readonly HttpPolicyRule[], dryRun = false) => ({
  namespace: 'shop',
  name: action.toLowerCase(),
  action,
  provider: action === 'CUSTOM' ? 'opa' : '',
  dryRun,
  rules,
});
const from = (part: Partial<PolicySource>) => rule({ sources: [{ ...SOURCE, ...part }] });
const to = (part: Partial<PolicyOperation>) => rule({ operations: [{ ...OPERATION, ...part }] });
const when = (key: string, values: readonly string[], notValues: readonly string[] = []) =>
  rule({
    conditions: [{ key, values: values.map(exact), notValues: notValues.map(exact), ipRanges: [], notIpRanges: [] }],
  });

const JWT: JwtFacts = {
  issuer: 'https://a.example',
  subject: 'bob',
  audiences: ['api'],
  presenter: 'web',
  claims: { role: ['admin'], scope: 'read write', nested: { level: 3 } },
  spaceDelimited: [],
};

function request(given: { method?: string; path?: string; headers?: string[]; jwt?: JwtFacts } = {}): PolicyRequest {
  const { method = 'GET', path = '/a', headers = [], jwt } = given;
  return {
    client: {
      identity: { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'front' },
      principal: 'cluster.local/ns/shop/sa/front',
      ip: '10.0.0.1',
      port: 1,
      destinationIp: '10.96.0.1',
      destinationPort: 80,
    },
    destinationIp: '10.96.0.1',
    destinationPort: 80,
    serverName: '',
    http: {
      exchange: { method, path, requestAuthority: 'Reviews:80', headers: new HeaderList(headers) },
      remoteIp: '192.0.2.7',
      jwt,
    },
  };
}
const connection: PolicyRequest = { ...request(), http: undefined };
const allows = (policies: readonly HttpAuthorization[], asked: PolicyRequest): boolean =>
  new PolicySet(policies, undefined).decide(asked).allowed;

test('every field of a rule decides', (t) => {
  const cases: readonly (readonly [HttpPolicyRule, PolicyRequest, boolean])[] = [
    [rule({}), request(), true],
    [from({ principals: [exact('cluster.local/ns/shop/sa/front')] }), request(), true],
    [from({ notPrincipals: [exact('cluster.local/ns/shop/sa/front')] }), request(), false],
    [from({ namespaces: [exact('shop')], notTrustDomains: [exact('cluster.local')] }), request(), false],
    [from({ serviceAccounts: [{ namespace: 'shop', serviceAccount: 'front' }] }), request(), true],
    [from({ ipRanges: [{ ip: '10.0.0.0', prefixLength: 8 }] }), request(), true],
    [from({ remoteIpRanges: [{ ip: '10.0.0.0', prefixLength: 8 }] }), request(), false],
    [from({ requestPrincipals: [exact('https://a.example/bob')] }), request({ jwt: JWT }), true],
    [from({ requestPrincipals: [{ kind: 'PRESENCE', value: '', ignoreCase: false }] }), request(), false],
    [from({ notRequestPrincipals: [{ kind: 'PRESENCE', value: '', ignoreCase: false }] }), request(), true],
    [to({ hosts: [{ kind: 'PREFIX', value: 'reviews', ignoreCase: true }] }), request(), true],
    [to({ ports: [80], notMethods: [exact('POST')] }), request({ method: 'POST' }), false],
    [to({ paths: [{ kind: 'TEMPLATE', template: '/{*}/b' }] }), request({ path: '/a/b' }), true],
    [to({ notPaths: [{ kind: 'MATCH', match: exact('/a'), template: '' }] }), request(), false],
    [when('request.headers[X-Id]', [], ['']), request({ headers: ['x-id', ''] }), false],
    [when('request.headers[X-Id]', [], ['']), request({ headers: ['x-id', '1'] }), true],
    [when('request.auth.claims[role]', ['admin', 'user']), request({ jwt: JWT }), true],
    [when('request.auth.claims[scope]', ['write']), request({ jwt: JWT }), true],
    [when('request.auth.claims[nested][level]', ['3']), request({ jwt: JWT }), true],
    [when('request.auth.claims[role]', ['admin']), request(), false],
    [when('request.auth.audiences', ['api']), request({ jwt: JWT }), true],
    [when('request.auth.presenter', ['cli']), request({ jwt: JWT }), false],
    [when('source.serviceAccount', ['shop/front']), request(), true],
    [when('destination.port', ['81']), request(), false],
  ];
  for (const [one, asked, expected] of cases)
    t.is(allows([policy('ALLOW', [one])], asked), expected, JSON.stringify(one));
});

test('a connection has no method: nothing that asks for one allows it, and everything that asks for one denies it', (t) => {
  const asks = to({ methods: [exact('GET')] });
  t.false(allows([policy('ALLOW', [asks])], connection));
  t.false(allows([policy('DENY', [asks])], connection));
  t.true(allows([policy('DENY', [to({ methods: [exact('GET')], ports: [81] })])], connection));
});

test('CUSTOM names its provider, notes have no effect, what is not known denies', (t) => {
  const set = new PolicySet([policy('CUSTOM', [rule({})]), policy('DENY', [rule({})], true)], undefined);
  t.deepEqual(set.customFor(request()), [{ provider: 'opa', by: 'ns[shop]-policy[custom]-rule[0]' }]);
  t.true(set.decide(request()).allowed);
  t.deepEqual(set.notes(request()), [{ policy: 'shop/deny', action: 'DENY', matched: true }]);
  t.false(new PolicySet([], 'shop/gone').decide(request()).allowed);
});

test('templates match whole segments', (t) => {
  t.true(compileTemplate('/a/{**}')('/a/b/c'));
  t.false(compileTemplate('/a/{*}')('/a/b/c'));
  t.false(compileTemplate('/a.b')('/axb'));
});

test('property: the order of policies does not decide, and the words of the order do', (t) => {
  const anyPolicy = fc.record({
    action: fc.constantFrom('ALLOW' as const, 'DENY' as const),
    method: fc.option(fc.constantFrom('GET', 'POST'), { nil: undefined }),
    empty: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(anyPolicy, { maxLength: 6 }), fc.constantFrom('GET', 'POST'), (given, method) => {
      const policies = given.map((one) => {
        const rules = one.empty ? [] : [one.method === undefined ? rule({}) : to({ methods: [exact(one.method)] })];
        return policy(one.action, rules);
      });
      const matches = given.map((one) => !one.empty && (one.method ?? method) === method);
      const isDenied = given.some((one, index) => one.action === 'DENY' && matches[index]);
      const allow = given.some((one) => one.action === 'ALLOW');
      const isAllowed = given.some((one, index) => one.action === 'ALLOW' && matches[index]);
      const expected = !isDenied && (!allow || isAllowed);
      const asked = request({ method });
      return allows(policies, asked) === expected && allows([...policies].reverse(), asked) === expected;
    }),
  );
  t.pass();
});

import test from 'ava';
import fc from 'fast-check';
import type { Authorization, Clause, Match, Rule, StringMatch } from './authorization.ts';
import { type ApplicablePolicies, authorize, type ConnectionFacts } from './authorize.ts';
import { identityPrincipal, parseIdentity } from './identity.ts';
import { compileRange, parseIp, rangeContains } from './ip.ts';

const NOTHING: Match = {
  namespaces: [],
  notNamespaces: [],
  principals: [],
  notPrincipals: [],
  serviceAccounts: [],
  notServiceAccounts: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [],
  notDestinationPorts: [],
};
const exact = (value: string): StringMatch => ({ kind: 'exact', value });
const PRESENCE: StringMatch = { kind: 'presence' };
const match = (fields: Partial<Match>): Match => ({ ...NOTHING, ...fields });
const clause = (...matches: Match[]): Clause => ({ matches });
const rule = (...clauses: Clause[]): Rule => ({ clauses });
let policies = 0;
const policy = (action: 'ALLOW' | 'DENY', dryRun: boolean, ...rules: Rule[]): Authorization => ({
  name: `p${++policies}`,
  namespace: 'n',
  scope: 'NAMESPACE',
  action,
  rules,
  dryRun,
});
const A = (...rules: Rule[]): Authorization => policy('ALLOW', false, ...rules);
const D = (...rules: Rule[]): Authorization => policy('DENY', false, ...rules);
const one = (fields: Partial<Match>): Rule => rule(clause(match(fields)));
const ns = (name: string): Partial<Match> => ({ namespaces: [exact(name)] });
const port = (number: number): Partial<Match> => ({ destinationPorts: [number] });
const range = (ip: string, prefixLength: number) => ({ ip, prefixLength });

const X = 'spiffe://td/ns/a/sa/x';
const B = 'spiffe://td/ns/b/sa/y';
const PLAIN = '';
function facts(identity: string, { ip = '10.0.0.9', port = 80 } = {}): ConnectionFacts {
  return {
    identity: identity === PLAIN ? undefined : parseIdentity(identity),
    sourceIp: ip,
    destinationIp: '10.0.0.1',
    destinationPort: port,
  };
}

const decides = test.macro((t, policies: readonly Authorization[], connection: ConnectionFacts, allowed: boolean) => {
  t.is(authorize({ policies, unknown: [] }, connection).allowed, allowed);
});

const strict = { notPrincipals: [PRESENCE] };
const exempt80 = rule(clause(match(strict)), clause(match({ notDestinationPorts: [80] })));
const bothClauses = rule(clause(match(ns('a')), match(ns('b'))), clause(match(port(80))));
const cidr = one({ sourceIps: [range('10.0.0.0', 8)], notSourceIps: [range('10.1.0.0', 16)] });

test('1 nothing applies', decides, [], facts(PLAIN), true);
test('2 an ALLOW without rules denies everything', decides, [A()], facts(X), false);
test('3 a DENY without rules has no effect', decides, [D()], facts(X), true);
test('4 a rule without clauses matches all', decides, [A(rule())], facts(PLAIN), true);
test('5 a clause without matches is true', decides, [A(rule(clause()))], facts(PLAIN), true);
test('6 an ALLOW with only an empty match denies', decides, [A(one({}))], facts(X), false);
test('7 a DENY with only an empty match has no effect', decides, [D(one({}))], facts(X), true);
test('8 namespace matches', decides, [A(one(ns('a')))], facts(X), true);
test('9 another namespace does not', decides, [A(one(ns('a')))], facts(B), false);
test('10 plaintext has no namespace', decides, [A(one(ns('a')))], facts(PLAIN), false);
test(
  '11 plaintext is not of the excluded namespace',
  decides,
  [A(one({ notNamespaces: [exact('a')] }))],
  facts(PLAIN),
  true,
);
test('12 presence needs an identity', decides, [A(one({ principals: [PRESENCE] }))], facts(PLAIN), false);
test('13 any identity is present', decides, [A(one({ principals: [PRESENCE] }))], facts(B), true);
test('14 STRICT denies plaintext', decides, [D(one(strict))], facts(PLAIN), false);
test('15 STRICT lets mTLS pass', decides, [D(one(strict))], facts(B), true);
const td = A(one({ principals: [exact('td/ns/a/sa/x')] }));
test('16 the trust domain is part of a principal', decides, [td], facts('spiffe://td2/ns/a/sa/x'), false);
const account = { namespace: 'a', serviceAccount: 'x' };
test(
  '17 the trust domain is not part of an account',
  decides,
  [A(one({ serviceAccounts: [account] }))],
  facts('spiffe://td2/ns/a/sa/x'),
  true,
);
test('18 principals are compared without scheme', decides, [A(one({ principals: [exact(X)] }))], facts(X), false);
test('19 suffix', decides, [A(one({ principals: [{ kind: 'suffix', value: '/sa/x' }] }))], facts(X), true);
test(
  '20 plaintext is not the excluded account',
  decides,
  [A(one({ notServiceAccounts: [account] }))],
  facts(PLAIN),
  true,
);
test('21 field types are ANDed', decides, [A(one({ ...ns('a'), ...port(80) }))], facts(X), true);
test('22 one field type fails', decides, [A(one({ ...ns('a'), ...port(80) }))], facts(X, { port: 81 }), false);
test('23 matches of a clause are ORed', decides, [A(bothClauses)], facts(B), true);
test('24 clauses are ANDed', decides, [A(bothClauses)], facts(B, { port: 81 }), false);
test('25 rules are ORed', decides, [A(one(ns('a')), one(ns('b')))], facts(B), true);
test('26 source range', decides, [A(cidr)], facts(X, { ip: '10.2.0.1' }), true);
test('27 a negative wins over a positive', decides, [A(cidr)], facts(X, { ip: '10.1.0.1' }), false);
test('28 DENY beats ALLOW', decides, [A(one(ns('a'))), D(one(port(80)))], facts(X), false);
test('29 DENY that does not match', decides, [A(one(ns('a'))), D(one(port(80)))], facts(X, { port: 81 }), true);
test('30 any ALLOW is enough', decides, [A(one(ns('a'))), A(one(ns('b')))], facts(B), true);
test('31 a dry-run DENY is only logged', decides, [policy('DENY', true, rule())], facts(X), true);
test('32 a dry-run ALLOW guards nothing', decides, [policy('ALLOW', true, one(ns('a')))], facts(B), true);
test('33 a dry-run ALLOW allows nothing', decides, [policy('ALLOW', true, rule()), A(one(ns('a')))], facts(B), false);
test('37 exempt port in plaintext', decides, [D(exempt80)], facts(PLAIN), true);
test('38 other ports stay strict', decides, [D(exempt80)], facts(PLAIN, { port: 81 }), false);
test('39 mTLS passes beside an exemption', decides, [D(exempt80)], facts(X, { port: 81 }), true);
const strict80 = D(one({ ...strict, ...port(80) }));
test('40 one strict port', decides, [strict80], facts(PLAIN), false);
test('41 the other ports are permissive', decides, [strict80], facts(PLAIN, { port: 81 }), true);
test('42 the real port is compared', decides, [A(one(port(80)))], facts(X, { port: 8080 }), false);
test('43 a waypoint is judged by its own identity', decides, [A(one(ns('a')))], facts(B), false);
test(
  '44 behind a gateway the source address is the gateway',
  decides,
  [A(one({ sourceIps: [range('10.2.0.7', 32)] }))],
  facts(X, { ip: '172.18.0.2' }),
  false,
);
test(
  '45 the port after the application tunnel is compared',
  decides,
  [A(one(port(8080)))],
  facts(X, { port: 15_088 }),
  false,
);

test('36 a policy that is listed but unknown denies', (t) => {
  const verdict = authorize({ policies: [A(rule())], unknown: ['n/missing'] }, facts(X));
  t.false(verdict.allowed);
  t.is(!verdict.allowed && verdict.reason, 'listed policy is unknown: n/missing');
});

test('a DENY that matches is named before an unknown policy', (t) => {
  const deny = D(rule());
  const verdict = authorize({ policies: [deny], unknown: ['n/missing'] }, facts(X));
  t.is(!verdict.allowed && verdict.reason, `explicitly denied by: n/${deny.name}`);
});

test('dry-run policies leave notes', (t) => {
  const dryDeny = policy('DENY', true, rule());
  const dryAllow = policy('ALLOW', true, one(ns('a')));
  const { notes } = authorize({ policies: [dryDeny, dryAllow], unknown: [] }, facts(B));
  t.deepEqual(notes, [
    { message: 'dry-run: deny policy match', policy: `n/${dryDeny.name}` },
    { message: 'dry-run: no allow policies match', policy: '' },
    { message: 'no allow policies, allow', policy: '' },
  ]);
});

test('an invalid range does not widen its list', (t) => {
  const broken = A(one({ sourceIps: [range('10.0.0.0', 99)] }));
  t.false(authorize({ policies: [broken], unknown: [] }, facts(X)).allowed);
});

test('families never match across', (t) => {
  const all4 = A(one({ sourceIps: [range('0.0.0.0', 0)] }));
  t.false(authorize({ policies: [all4], unknown: [] }, facts(X, { ip: 'fd00::1' })).allowed);
});

// --- against a slow and obvious implementation -----------------------------------------------------------------------

const arbString: fc.Arbitrary<StringMatch> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('exact' as const, 'prefix' as const, 'suffix' as const),
    value: fc.constantFrom('', 'a', 'b', 'td/ns/a/sa/x', 'td/', '/sa/x'),
  }),
  fc.constant(PRESENCE),
);
const few = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(arbitrary, { maxLength: 2 });
const arbRange = fc.record({
  ip: fc.constantFrom('10.0.0.0', '10.1.0.0', 'fd00::'),
  prefixLength: fc.constantFrom(0, 8, 16, 40),
});
const arbPort = fc.constantFrom(80, 81);
const arbAccount = fc.record({ namespace: fc.constantFrom('a', 'b'), serviceAccount: fc.constantFrom('x', 'y') });
const arbMatch: fc.Arbitrary<Match> = fc.record({
  namespaces: few(arbString),
  notNamespaces: few(arbString),
  principals: few(arbString),
  notPrincipals: few(arbString),
  serviceAccounts: few(arbAccount),
  notServiceAccounts: few(arbAccount),
  sourceIps: few(arbRange),
  notSourceIps: few(arbRange),
  destinationIps: few(arbRange),
  notDestinationIps: few(arbRange),
  destinationPorts: few(arbPort),
  notDestinationPorts: few(arbPort),
});
const arbSparse = fc.tuple(arbMatch, fc.array(fc.boolean(), { minLength: 12, maxLength: 12 })).map(([full, keep]) => {
  const entries = Object.entries(full).map(([name, value], index) => [name, keep[index] ? value : []] as const);
  return Object.fromEntries(entries) as unknown as Match; // same keys as `full`
});
const arbPolicy: fc.Arbitrary<Authorization> = fc.record({
  name: fc.constantFrom('p', 'q'),
  namespace: fc.constant('n'),
  scope: fc.constant('GLOBAL' as const),
  action: fc.constantFrom('ALLOW' as const, 'DENY' as const),
  dryRun: fc.boolean(),
  rules: few(fc.record({ clauses: few(fc.record({ matches: few(arbSparse) })) })),
});
const arbFacts: fc.Arbitrary<ConnectionFacts> = fc.record({
  identity: fc.constantFrom(undefined, parseIdentity(X), parseIdentity(B)),
  sourceIp: fc.constantFrom('10.0.0.1', '10.1.2.3', 'fd00::5', '192.168.0.1'),
  destinationIp: fc.constantFrom('10.0.0.1', 'fd00::1'),
  destinationPort: arbPort,
});

function slowMatch(m: Match, c: ConnectionFacts): boolean {
  const strings = (list: readonly StringMatch[], text: string | undefined): boolean =>
    list.some((s) => {
      if (text === undefined) return false;
      if (s.kind === 'presence') return text.length > 0;
      if (s.kind === 'exact') return text === s.value;
      return s.kind === 'prefix'
        ? text.indexOf(s.value) === 0
        : text.slice(text.length - s.value.length) === s.value && text.length >= s.value.length;
    });
  const ranges = (list: Match['sourceIps'], text: string): boolean =>
    list.some((r) => {
      const compiled = compileRange(r);
      const ip = parseIp(text);
      return compiled && ip ? rangeContains(compiled, ip) : false;
    });
  const accounts = (list: Match['serviceAccounts']): boolean =>
    list.some((a) => c.identity?.namespace === a.namespace && c.identity.serviceAccount === a.serviceAccount);
  const principal = c.identity && identityPrincipal(c.identity);
  const namespace = c.identity?.namespace ?? '';
  if (Object.values(m).every((list: readonly unknown[]) => list.length === 0)) return false;
  const pair = (yes: readonly unknown[], isYes: boolean, isNo: boolean): boolean =>
    (yes.length === 0 || isYes) && !isNo;
  return (
    pair(m.namespaces, strings(m.namespaces, namespace), strings(m.notNamespaces, namespace)) &&
    pair(m.principals, strings(m.principals, principal), strings(m.notPrincipals, principal)) &&
    pair(m.serviceAccounts, accounts(m.serviceAccounts), accounts(m.notServiceAccounts)) &&
    pair(m.sourceIps, ranges(m.sourceIps, c.sourceIp), ranges(m.notSourceIps, c.sourceIp)) &&
    pair(m.destinationIps, ranges(m.destinationIps, c.destinationIp), ranges(m.notDestinationIps, c.destinationIp)) &&
    pair(
      m.destinationPorts,
      m.destinationPorts.includes(c.destinationPort),
      m.notDestinationPorts.includes(c.destinationPort),
    )
  );
}

function slowAllowed({ policies, unknown }: ApplicablePolicies, c: ConnectionFacts): boolean {
  const hits = (p: Authorization): boolean =>
    p.rules.some((r) => r.clauses.every((cl) => cl.matches.length === 0 || cl.matches.some((m) => slowMatch(m, c))));
  const enforced = policies.filter((p) => !p.dryRun);
  if (enforced.some((p) => p.action === 'DENY' && hits(p))) return false;
  if (unknown.length > 0) return false;
  const allows = enforced.filter((p) => p.action === 'ALLOW');
  return allows.length === 0 || allows.some(hits);
}

test('the verdict is the one of a slow and obvious implementation', (t) => {
  const applicable = fc.record({
    policies: fc.array(arbPolicy, { maxLength: 3 }),
    unknown: fc.constantFrom([], [], ['n/u']),
  });
  fc.assert(
    fc.property(applicable, arbFacts, (set, connection) => {
      t.is(authorize(set, connection).allowed, slowAllowed(set, connection));
    }),
    { numRuns: 1_000 },
  );
});

/**
 * Layer 4 authorization of one connection at the server side.
 *
 * Guarantees
 *  - Pure and total: never throws, never waits.
 *  - An enforced DENY that matches wins; then a policy that is listed but unknown denies; with no enforced ALLOW
 *    everything else passes; otherwise one enforced ALLOW has to match.
 *  - Dry-run policies never change the verdict; what they would have done is in `notes`.
 * Source: Istio AuthorizationPolicy semantics at layer 4. Denying for an unknown policy is stricter than Istio's tunnel.
 */
import type { Authorization, Match, StringMatch } from './authorization.ts';
import { authorizationKey } from './authorization.ts';
import { type Identity, identityPrincipal } from './identity.ts';
import { type CompiledRange, compileRange, type ParsedIp, parseIp, rangeContains } from './ip.ts';

/** What is known of a connection when it is judged. `identity` is absent for plaintext. */
export interface ConnectionFacts {
  readonly identity: Identity | undefined;
  readonly sourceIp: string;
  readonly destinationIp: string;
  /** The application's real port, after every mapping. */
  readonly destinationPort: number;
}

/** The policies in scope of one workload. `unknown` are names its workload lists and nobody has seen. */
export interface ApplicablePolicies {
  readonly policies: readonly Authorization[];
  readonly unknown: readonly string[];
}

/** One line for the log: `policy` is empty when no single policy is meant. */
export interface PolicyNote {
  readonly message:
    | 'dry-run: deny policy match'
    | 'deny policy match'
    | 'dry-run: allow policy match'
    | 'dry-run: no allow policies match'
    | 'no allow policies, allow'
    | 'allow policy match'
    | 'no allow policies matched'
    | 'listed policy is unknown';
  readonly policy: string;
}

export type Verdict =
  | { readonly allowed: true; readonly by: string | undefined; readonly notes: readonly PolicyNote[] }
  | {
      readonly allowed: false;
      readonly by: string | undefined;
      readonly cause: 'denied' | 'unknown-policy' | 'no-allow-matched';
      /** The text after `connection closed due to policy rejection: `. */
      readonly reason: string;
      readonly notes: readonly PolicyNote[];
    };

interface Subject {
  readonly namespace: string;
  readonly principal: string | undefined;
  readonly identity: Identity | undefined;
  readonly sourceIp: ParsedIp | undefined;
  readonly destinationIp: ParsedIp | undefined;
  readonly destinationPort: number;
}

type Predicate = (subject: Subject) => boolean;

/** Policies are immutable, so the compiled form lives as long as the policy itself. */
const compiled = new WeakMap<Authorization, Predicate>();

export function authorize({ policies, unknown }: ApplicablePolicies, facts: ConnectionFacts): Verdict {
  const subject = toSubject(facts);
  const notes: PolicyNote[] = [];
  const matching = (action: Authorization['action'], dryRun: boolean): Authorization | undefined =>
    policies.find((policy) => policy.action === action && policy.dryRun === dryRun && matches(policy, subject));
  const note = (message: PolicyNote['message'], policy = ''): void => {
    notes.push({ message, policy });
  };

  const dryDeny = matching('DENY', true);
  if (dryDeny) note('dry-run: deny policy match', authorizationKey(dryDeny));
  const deny = matching('DENY', false);
  if (deny) {
    const by = authorizationKey(deny);
    note('deny policy match', by);
    return { allowed: false, by, cause: 'denied', reason: `explicitly denied by: ${by}`, notes };
  }
  const missing = unknown[0];
  if (missing !== undefined) {
    note('listed policy is unknown', missing);
    return {
      allowed: false,
      by: missing,
      cause: 'unknown-policy',
      reason: `listed policy is unknown: ${missing}`,
      notes,
    };
  }
  const dryAllow = matching('ALLOW', true);
  if (dryAllow) note('dry-run: allow policy match', authorizationKey(dryAllow));
  else if (policies.some(({ action, dryRun }) => action === 'ALLOW' && dryRun))
    note('dry-run: no allow policies match');
  if (!policies.some(({ action, dryRun }) => action === 'ALLOW' && !dryRun)) {
    note('no allow policies, allow');
    return { allowed: true, by: undefined, notes };
  }
  const allow = matching('ALLOW', false);
  if (allow) {
    const by = authorizationKey(allow);
    note('allow policy match', by);
    return { allowed: true, by, notes };
  }
  note('no allow policies matched');
  return {
    allowed: false,
    by: undefined,
    cause: 'no-allow-matched',
    reason: 'allow policies exist, but none allowed',
    notes,
  };
}

function toSubject(facts: ConnectionFacts): Subject {
  return {
    namespace: facts.identity?.namespace ?? '',
    principal: facts.identity && identityPrincipal(facts.identity),
    identity: facts.identity,
    sourceIp: parseIp(facts.sourceIp),
    destinationIp: parseIp(facts.destinationIp),
    destinationPort: facts.destinationPort,
  };
}

function matches(policy: Authorization, subject: Subject): boolean {
  let predicate = compiled.get(policy);
  if (!predicate) {
    predicate = compilePolicy(policy);
    compiled.set(policy, predicate);
  }
  return predicate(subject);
}

function compilePolicy(policy: Authorization): Predicate {
  const rules = policy.rules.map((rule) => rule.clauses.map((clause) => clause.matches.map(compileMatch)));
  return (subject) =>
    rules.some((clauses) =>
      clauses.every((alternatives) => alternatives.length === 0 || alternatives.some((match) => match(subject))),
    );
}

/** A match without any value is skipped: it matches nothing. */
function compileMatch(match: Match): Predicate {
  const predicates = [
    field(match.namespaces, match.notNamespaces, (value) => (s) => matchesString(value, s.namespace)),
    field(
      match.principals,
      match.notPrincipals,
      (value) => (s) => s.principal !== undefined && matchesString(value, s.principal),
    ),
    field(
      match.serviceAccounts,
      match.notServiceAccounts,
      (value) => (s) =>
        s.identity !== undefined &&
        s.identity.namespace === value.namespace &&
        s.identity.serviceAccount === value.serviceAccount,
    ),
    field(
      compileRanges(match.sourceIps),
      compileRanges(match.notSourceIps),
      (range) => (s) => inRange(range, s.sourceIp),
    ),
    field(
      compileRanges(match.destinationIps),
      compileRanges(match.notDestinationIps),
      (range) => (s) => inRange(range, s.destinationIp),
    ),
    field(match.destinationPorts, match.notDestinationPorts, (port) => (s) => s.destinationPort === port),
  ].filter((predicate) => predicate !== undefined);
  if (predicates.length === 0) return () => false;
  return (subject) => predicates.every((predicate) => predicate(subject));
}

/** (OR of positives, true when there is none) AND NOT (OR of negatives); undefined when there is neither. */
function field<T>(
  positives: readonly T[],
  negatives: readonly T[],
  toPredicate: (value: T) => Predicate,
): Predicate | undefined {
  if (positives.length === 0 && negatives.length === 0) return undefined;
  const wanted = positives.map(toPredicate);
  const unwanted = negatives.map(toPredicate);
  return (subject) => (wanted.length === 0 || wanted.some((is) => is(subject))) && !unwanted.some((is) => is(subject));
}

/** A range that is no range matches nothing and is kept, so that a list never turns empty, which would widen it. */
function compileRanges(ranges: Match['sourceIps']): readonly (CompiledRange | undefined)[] {
  return ranges.map(compileRange);
}

function inRange(range: CompiledRange | undefined, ip: ParsedIp | undefined): boolean {
  return range !== undefined && ip !== undefined && rangeContains(range, ip);
}

function matchesString(match: StringMatch, text: string): boolean {
  switch (match.kind) {
    case 'exact':
      return text === match.value;
    case 'prefix':
      return text.startsWith(match.value);
    case 'suffix':
      return text.endsWith(match.value);
    case 'presence':
      return text !== '';
  }
}

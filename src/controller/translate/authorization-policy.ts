/**
 * AuthorizationPolicy to the tunnels' policy. Source: Istio control plane.
 *
 * What the tunnels cannot check never widens an ALLOW: its whole rule is left out. In a DENY the rest of the rule is
 * enforced. Values that cannot be read (a port that is none, an address that is none) are treated the same way.
 */
import type { IpRange } from '../../model/address.ts';
import type { Authorization, Clause, Match, Rule, StringMatch } from '../../model/authorization.ts';
import { canonicalIp } from '../../model/ip.ts';
import type { AuthorizationOperation, AuthorizationRule, AuthorizationSource } from '../../schema/index.ts';
import type { ConditionValue, StatusPatch } from '../ir.ts';
import type { MeshSettings } from '../mesh-settings.ts';
import { type AuthorizationPolicy, namespaceOf } from '../resources.ts';
import { isEmpty, matchOf } from './match.ts';
import type { SelectorPolicy } from './policy-scope.ts';

export interface TranslatedPolicy {
  /** Undefined: nothing for the tunnels. */
  readonly policy: Authorization | undefined;
  readonly selector: SelectorPolicy | undefined;
  readonly status: StatusPatch;
}

const KIND = { group: 'security.istio.io', kind: 'AuthorizationPolicy' };

export function translateAuthorizationPolicy(object: AuthorizationPolicy, settings: MeshSettings): TranslatedPolicy {
  const namespace = namespaceOf(object);
  const { name } = object.metadata;
  const spec = object.spec ?? {};
  const status = (condition: ConditionValue): StatusPatch => ({
    kind: KIND,
    key: { namespace, name },
    conditions: [condition],
  });
  const refuse = (message: string): TranslatedPolicy => ({
    policy: undefined,
    selector: undefined,
    status: status({ type: 'ZtunnelAccepted', status: 'False', reason: 'UnsupportedValue', message }),
  });
  if (spec.targetRef || (spec.targetRefs ?? []).length > 0) {
    return { policy: undefined, selector: undefined, status: status(AT_WAYPOINT) };
  }
  const action = spec.action ?? 'ALLOW';
  if (action !== 'ALLOW' && action !== 'DENY') return refuse(`ztunnel does not support the ${action} action`);
  const dryRun = object.metadata.annotations?.['istio.io/dry-run']?.toLowerCase() === 'true';
  if (dryRun && !settings.dryRunPolicies) return refuse('ztunnel does not support dry-run policies');
  const found = new Findings();
  const rules: Rule[] = [];
  for (const rule of spec.rules ?? []) {
    const own = new Findings();
    const translated = translateRule(rule ?? {}, namespace, own);
    found.add(own);
    if (action === 'DENY' || own.isEmpty()) rules.push(translated);
  }
  const scope = spec.selector ? 'WORKLOAD_SELECTOR' : namespace === settings.rootNamespace ? 'GLOBAL' : 'NAMESPACE';
  const inert = rules.filter((rule) =>
    rule.clauses.some(({ matches }) => matches.length > 0 && matches.every(isEmpty)),
  );
  return {
    policy: { name, namespace, scope, action, rules, dryRun },
    selector: spec.selector && { key: `${namespace}/${name}`, selector: spec.selector.matchLabels ?? {} },
    status: status(accepted(action, found, inert.length)),
  };
}

const AT_WAYPOINT: ConditionValue = {
  type: 'WaypointAccepted',
  status: 'False',
  reason: 'NotServed',
  message: 'waypoints are not served yet: the policy is not enforced',
};

function accepted(action: 'ALLOW' | 'DENY', found: Findings, inertRules: number): ConditionValue {
  const type = 'ZtunnelAccepted';
  if (found.isEmpty()) return { type, status: 'True', reason: 'Accepted', message: 'attached to ztunnel' };
  const parts: string[] = [];
  if (found.http.size > 0) {
    const names = [...found.http].sort().join(', ');
    parts.push(
      `ztunnel does not support HTTP attributes (found: ${names}). ` +
        'In ambient mode you must use a waypoint proxy to enforce HTTP rules.',
    );
  }
  if (found.invalid.size > 0) parts.push(`Values that cannot be used: ${[...found.invalid].join(', ')}.`);
  parts.push(consequence(action, found.http.size > 0 ? 'HTTP attributes' : 'such values', inertRules));
  return { type, status: 'True', reason: 'UnsupportedValue', message: parts.join(' ') };
}

function consequence(action: 'ALLOW' | 'DENY', what: string, inertRules: number): string {
  if (action === 'ALLOW') {
    const verb = what === 'HTTP attributes' ? 'matching' : 'with';
    return `Within an ALLOW policy, rules ${verb} ${what} are omitted. This will be more restrictive than requested.`;
  }
  if (inertRules > 0) {
    return `DENY rules with nothing but ${what} have no effect. This will be less restrictive than requested.`;
  }
  if (what !== 'HTTP attributes') return 'The rest of the DENY policy is enforced.';
  return 'DENY policy with HTTP attributes is enforced without the HTTP rules. This will be more restrictive than requested.';
}

/** What a rule says that the tunnels cannot check. */
class Findings {
  readonly http = new Set<string>();
  readonly invalid = new Set<string>();

  isEmpty(): boolean {
    return this.http.size === 0 && this.invalid.size === 0;
  }

  add(other: Findings): void {
    for (const one of other.http) this.http.add(one);
    for (const one of other.invalid) this.invalid.add(one);
  }
}

function translateRule({ from = [], to = [], when = [] }: AuthorizationRule, namespace: string, found: Findings): Rule {
  const clauses: Clause[] = [];
  if (to.length > 0) clauses.push({ matches: to.map(({ operation }) => toMatch(operation ?? {}, found)) });
  if (from.length > 0) clauses.push({ matches: from.map(({ source }) => fromMatch(source ?? {}, namespace, found)) });
  for (const condition of when) clauses.push({ matches: [whenMatch(condition, found)] });
  return { clauses };
}

const HTTP_OPERATION = ['hosts', 'notHosts', 'methods', 'notMethods', 'paths', 'notPaths'] as const;
/** The trust domain of a source is not part of what the tunnels are told. */
const HTTP_SOURCE = [
  'remoteIpBlocks',
  'notRemoteIpBlocks',
  'requestPrincipals',
  'notRequestPrincipals',
  'trustDomains',
  'notTrustDomains',
] as const;

function toMatch(operation: AuthorizationOperation, found: Findings): Match {
  for (const name of HTTP_OPERATION) if ((operation[name] ?? []).length > 0) found.http.add(name);
  return matchOf({
    destinationPorts: toPorts(operation.ports, found),
    notDestinationPorts: toPorts(operation.notPorts, found),
  });
}

function fromMatch(source: AuthorizationSource, namespace: string, found: Findings): Match {
  for (const name of HTTP_SOURCE) if ((source[name] ?? []).length > 0) found.http.add(name);
  return matchOf({
    sourceIps: toRanges(source.ipBlocks, found),
    notSourceIps: toRanges(source.notIpBlocks, found),
    namespaces: toStringMatches(source.namespaces),
    notNamespaces: toStringMatches(source.notNamespaces),
    serviceAccounts: toAccounts(source.serviceAccounts, namespace),
    notServiceAccounts: toAccounts(source.notServiceAccounts, namespace),
    principals: toStringMatches(source.principals),
    notPrincipals: toStringMatches(source.notPrincipals),
  });
}

interface When {
  readonly key: string;
  readonly values?: readonly string[] | undefined;
  readonly notValues?: readonly string[] | undefined;
}

function whenMatch({ key, values, notValues }: When, found: Findings): Match {
  switch (key) {
    case 'source.ip':
      return matchOf({ sourceIps: toRanges(values, found), notSourceIps: toRanges(notValues, found) });
    case 'source.namespace':
      return matchOf({ namespaces: toStringMatches(values), notNamespaces: toStringMatches(notValues) });
    case 'source.principal':
      return matchOf({ principals: toStringMatches(values), notPrincipals: toStringMatches(notValues) });
    case 'destination.ip':
      return matchOf({ destinationIps: toRanges(values, found), notDestinationIps: toRanges(notValues, found) });
    case 'destination.port':
      return matchOf({ destinationPorts: toPorts(values, found), notDestinationPorts: toPorts(notValues, found) });
    default:
      found.http.add(key);
      return matchOf({});
  }
}

function toStringMatches(values: readonly string[] = []): readonly StringMatch[] {
  return values.map((value): StringMatch => {
    if (value === '*') return { kind: 'presence' };
    if (value.startsWith('*')) return { kind: 'suffix', value: value.slice(1) };
    if (value.endsWith('*')) return { kind: 'prefix', value: value.slice(0, -1) };
    return { kind: 'exact', value };
  });
}

function toAccounts(values: readonly string[] = [], namespace: string) {
  return values.map((value) => {
    const slash = value.indexOf('/');
    if (slash < 0) return { namespace, serviceAccount: value };
    return { namespace: value.slice(0, slash), serviceAccount: value.slice(slash + 1) };
  });
}

function toPorts(values: readonly string[] = [], found: Findings): readonly number[] {
  return values.flatMap((value) => {
    const port = Number(value);
    if (/^\d{1,5}$/.test(value) && port <= 65_535) return [port];
    found.invalid.add(`port ${JSON.stringify(value)}`);
    return [];
  });
}

function toRanges(values: readonly string[] = [], found: Findings): readonly IpRange[] {
  return values.flatMap((value) => {
    const [address = '', length, ...rest] = value.split('/');
    const ip = canonicalIp(address);
    const full = ip?.includes(':') ? 128 : 32;
    const prefixLength = length === undefined ? full : Number(length);
    const isLength = length === undefined || (/^\d{1,3}$/.test(length) && prefixLength <= full);
    if (ip !== undefined && isLength && rest.length === 0) return [{ ip, prefixLength }];
    found.invalid.add(`address ${JSON.stringify(value)}`);
    return [];
  });
}

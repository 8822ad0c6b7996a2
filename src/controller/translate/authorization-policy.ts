/**
 * AuthorizationPolicy to the tunnels' policy. Source: Istio control plane.
 *
 * What the tunnels cannot check never widens an ALLOW: its whole rule is left out. Of a DENY or CUSTOM the rest of the
 * rule is denied; that is everything when nothing is left. Values that cannot be read (a port that is none, an address
 * that is none) are treated the same way. A policy that needs layer 7 is in force in this form only where no waypoint
 * enforces it whole.
 */
import type { IpRange } from '../../model/address.ts';
import type { Authorization, Clause, Match, Rule, StringMatch } from '../../model/authorization.ts';
import type { AuthorizationOperation, AuthorizationRule, AuthorizationSource } from '../../schema/index.ts';
import type { ConditionValue, StatusPatch } from '../ir.ts';
import type { MeshSettings } from '../mesh-settings.ts';
import { type AuthorizationPolicy, namespaceOf } from '../resources.ts';
import { isEmpty, matchOf } from './match.ts';
import type { SelectorPolicy } from './policy-scope.ts';
import { parseAccount, parsePort, parseRange } from './policy-values.ts';

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
  if (spec.targetRef || (spec.targetRefs ?? []).length > 0) {
    return { policy: undefined, selector: undefined, status: { kind: KIND, key: { namespace, name }, conditions: [] } };
  }
  const action = spec.action ?? 'ALLOW';
  const dryRun = object.metadata.annotations?.['istio.io/dry-run']?.toLowerCase() === 'true';
  const found = new Findings();
  const rules: Rule[] = [];
  for (const rule of spec.rules ?? []) {
    const own = new Findings();
    const translated = translateRule(rule ?? {}, namespace, { found: own, widens: action !== 'ALLOW' });
    found.add(own);
    if (action !== 'ALLOW' || own.isEmpty()) rules.push(translated);
  }
  const isNote = action === 'AUDIT' || dryRun;
  const needsL7 = action === 'AUDIT' || action === 'CUSTOM' || found.http.size > 0;
  const needs = !needsL7 ? 'TUNNEL' : isNote ? 'NOTE' : 'WAYPOINT';
  const selector = (listed: boolean): SelectorPolicy => ({
    key: `${namespace}/${name}`,
    selector: spec.selector?.matchLabels ?? {},
    needs,
    listed,
  });
  const atTunnels = action === 'AUDIT' || (dryRun && (needsL7 || !settings.dryRunPolicies)) ? undefined : action;
  if (atTunnels === undefined) {
    const message = action === 'AUDIT' ? 'the AUDIT action' : 'dry-run policies';
    const refused = status({
      type: 'ZtunnelAccepted',
      status: 'False',
      reason: 'UnsupportedValue',
      message: `ztunnel does not support ${message}`,
    });
    return { policy: undefined, selector: needs === 'NOTE' ? selector(false) : undefined, status: refused };
  }
  // A policy that needs its waypoint is told by workload: only those without a waypoint are to hear of it.
  const isSelected = spec.selector !== undefined || needs === 'WAYPOINT';
  const scope = isSelected ? 'WORKLOAD_SELECTOR' : namespace === settings.rootNamespace ? 'GLOBAL' : 'NAMESPACE';
  return {
    policy: { name, namespace, scope, action: atTunnels === 'ALLOW' ? 'ALLOW' : 'DENY', rules, dryRun },
    selector: selector(isSelected),
    status: status(accepted(action, found)),
  };
}

function accepted(action: 'ALLOW' | 'DENY' | 'CUSTOM' | 'AUDIT', found: Findings): ConditionValue {
  const type = 'ZtunnelAccepted';
  const parts: string[] = [];
  if (action === 'CUSTOM') parts.push('ztunnel does not support the CUSTOM action.');
  if (action !== 'CUSTOM' && found.isEmpty()) {
    return { type, status: 'True', reason: 'Accepted', message: 'attached to ztunnel' };
  }
  if (found.http.size > 0) {
    const names = [...found.http].sort().join(', ');
    parts.push(
      `ztunnel does not support HTTP attributes (found: ${names}). ` +
        'In ambient mode you must use a waypoint proxy to enforce HTTP rules.',
    );
  }
  if (found.invalid.size > 0) parts.push(`Values that cannot be used: ${[...found.invalid].join(', ')}.`);
  parts.push(consequence(action, found.http.size > 0 || action === 'CUSTOM'));
  return { type, status: 'True', reason: 'UnsupportedValue', message: parts.join(' ') };
}

function consequence(action: string, needsWaypoint: boolean): string {
  const where = needsWaypoint ? 'Where no waypoint enforces the policy' : 'At the tunnels';
  if (action === 'ALLOW') {
    return `${where}, rules of an ALLOW policy with such values are omitted. This will be more restrictive than requested.`;
  }
  return `${where}, what the rest of a rule matches is denied. This will be more restrictive than requested.`;
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

interface RuleReading {
  readonly found: Findings;
  /** What cannot be checked is taken as matching, so that the rule matches more rather than less. */
  readonly widens: boolean;
}

function translateRule(
  { from = [], to = [], when = [] }: AuthorizationRule,
  namespace: string,
  { found, widens }: RuleReading,
): Rule {
  const clauses: Clause[] = [];
  const add = (reads: readonly ((own: Findings) => Match)[]): void => {
    let isOpen = false;
    const matches = reads.map((read) => {
      const own = new Findings();
      const match = read(own);
      if (isEmpty(match) && !own.isEmpty()) isOpen = true;
      found.add(own);
      return match;
    });
    if (!(widens && isOpen)) clauses.push({ matches });
  };
  if (to.length > 0)
    add(
      to.map(
        ({ operation }) =>
          (own) =>
            toMatch(operation ?? {}, own),
      ),
    );
  if (from.length > 0)
    add(
      from.map(
        ({ source }) =>
          (own) =>
            fromMatch(source ?? {}, namespace, own),
      ),
    );
  for (const condition of when) add([(own) => whenMatch(condition, own)]);
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
  return values.map((value) => parseAccount(value, namespace));
}

function toPorts(values: readonly string[] = [], found: Findings): readonly number[] {
  return readValues(values, parsePort, (value) => found.invalid.add(`port ${value}`));
}

function toRanges(values: readonly string[] = [], found: Findings): readonly IpRange[] {
  return readValues(values, parseRange, (value) => found.invalid.add(`address ${value}`));
}

function readValues<T>(
  values: readonly string[],
  parse: (text: string) => T | undefined,
  onFault: (value: string) => void,
): readonly T[] {
  return values.flatMap((value) => {
    const parsed = parse(value);
    if (parsed === undefined) onFault(JSON.stringify(value));
    return parsed === undefined ? [] : [parsed];
  });
}

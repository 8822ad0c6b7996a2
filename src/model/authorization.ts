/**
 * Layer 4 authorization as the data plane sees it. Source: istio authorization.proto, message Authorization.
 * A policy is an OR of rules, a rule an AND of clauses, a clause an OR of matches, a match an AND of its field types.
 */
import type { IpRange } from './address.ts';

export type StringMatch =
  | { readonly kind: 'exact' | 'prefix' | 'suffix'; readonly value: string }
  | { readonly kind: 'presence' };

export interface ServiceAccountMatch {
  readonly namespace: string;
  readonly serviceAccount: string;
}

export interface Match {
  readonly namespaces: readonly StringMatch[];
  readonly notNamespaces: readonly StringMatch[];
  readonly principals: readonly StringMatch[];
  readonly notPrincipals: readonly StringMatch[];
  readonly serviceAccounts: readonly ServiceAccountMatch[];
  readonly notServiceAccounts: readonly ServiceAccountMatch[];
  readonly sourceIps: readonly IpRange[];
  readonly notSourceIps: readonly IpRange[];
  readonly destinationIps: readonly IpRange[];
  readonly notDestinationIps: readonly IpRange[];
  readonly destinationPorts: readonly number[];
  readonly notDestinationPorts: readonly number[];
}

export interface Clause {
  readonly matches: readonly Match[];
}

export interface Rule {
  readonly clauses: readonly Clause[];
}

export interface Authorization {
  readonly name: string;
  readonly namespace: string;
  readonly scope: 'GLOBAL' | 'NAMESPACE' | 'WORKLOAD_SELECTOR';
  readonly action: 'ALLOW' | 'DENY';
  readonly rules: readonly Rule[];
  readonly dryRun: boolean;
}

/** Primary key of a policy: `namespace/name`. */
export function authorizationKey(policy: Pick<Authorization, 'namespace' | 'name'>): string {
  return `${policy.namespace}/${policy.name}`;
}

/**
 * Authorization policies between their wire message and the model.
 *
 * A value that cannot be understood refuses the whole policy: dropping it could widen the policy or empty it.
 * Source: Istio authorization.proto.
 */
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { EmptySchema } from '@bufbuild/protobuf/wkt';
import {
  type Address as AddressMessage,
  AuthorizationSchema,
  type Match as MatchMessage,
  type MatchSchema,
  type StringMatch as StringMatchMessage,
  type StringMatchSchema,
} from '../gen/authorization_pb.js';
import type { IpRange } from '../model/address.ts';
import type { Authorization, Match, StringMatch } from '../model/authorization.ts';
import { decoding, enumName, enumNumber, malformed, parseIpBytes, port16, toIpBytes } from './resource-codec.ts';

const POLICY_SCOPES = ['GLOBAL', 'NAMESPACE', 'WORKLOAD_SELECTOR'] as const;
const ACTIONS = ['ALLOW', 'DENY'] as const;

/** Throws ERR_MALFORMED with the reason of the refusal. */
export function decodeAuthorization(bytes: Uint8Array): Authorization {
  return decoding(() => {
    const m = fromBinary(AuthorizationSchema, bytes);
    return {
      name: m.name,
      namespace: m.namespace,
      scope: enumName(POLICY_SCOPES, m.scope, 'policy scope'),
      action: enumName(ACTIONS, m.action, 'policy action'),
      rules: m.rules.map((rule) => ({
        clauses: rule.clauses.map((clause) => ({ matches: clause.matches.map(fromMatch) })),
      })),
      dryRun: m.dryRun,
    };
  });
}

/** The `Authorization` resource of a policy. Throws ERR_MALFORMED when an address is not one. */
export function encodeAuthorization(policy: Authorization): Uint8Array {
  const message = create(AuthorizationSchema, {
    name: policy.name,
    namespace: policy.namespace,
    scope: enumNumber(POLICY_SCOPES, policy.scope),
    action: enumNumber(ACTIONS, policy.action),
    rules: policy.rules.map((rule) => ({
      clauses: rule.clauses.map((clause) => ({ matches: clause.matches.map(toMatch) })),
    })),
    dryRun: policy.dryRun,
  });
  return toBinary(AuthorizationSchema, message);
}

function fromMatch(m: MatchMessage): Match {
  return {
    namespaces: m.namespaces.map(fromStringMatch),
    notNamespaces: m.notNamespaces.map(fromStringMatch),
    principals: m.principals.map(fromStringMatch),
    notPrincipals: m.notPrincipals.map(fromStringMatch),
    serviceAccounts: m.serviceAccounts.map(({ namespace, serviceAccount }) => ({ namespace, serviceAccount })),
    notServiceAccounts: m.notServiceAccounts.map(({ namespace, serviceAccount }) => ({ namespace, serviceAccount })),
    sourceIps: m.sourceIps.map(fromRange),
    notSourceIps: m.notSourceIps.map(fromRange),
    destinationIps: m.destinationIps.map(fromRange),
    notDestinationIps: m.notDestinationIps.map(fromRange),
    destinationPorts: m.destinationPorts.map(port16),
    notDestinationPorts: m.notDestinationPorts.map(port16),
  };
}

function toMatch(match: Match): MessageInitShape<typeof MatchSchema> {
  return {
    namespaces: match.namespaces.map(toStringMatch),
    notNamespaces: match.notNamespaces.map(toStringMatch),
    principals: match.principals.map(toStringMatch),
    notPrincipals: match.notPrincipals.map(toStringMatch),
    serviceAccounts: [...match.serviceAccounts],
    notServiceAccounts: [...match.notServiceAccounts],
    sourceIps: match.sourceIps.map(toRange),
    notSourceIps: match.notSourceIps.map(toRange),
    destinationIps: match.destinationIps.map(toRange),
    notDestinationIps: match.notDestinationIps.map(toRange),
    destinationPorts: [...match.destinationPorts],
    notDestinationPorts: [...match.notDestinationPorts],
  };
}

function fromStringMatch({ matchType }: StringMatchMessage): StringMatch {
  switch (matchType.case) {
    case 'exact':
    case 'prefix':
    case 'suffix':
      return { kind: matchType.case, value: matchType.value };
    case 'presence':
      return { kind: 'presence' };
    default:
      throw malformed('string match without a kind');
  }
}

function toStringMatch(match: StringMatch): MessageInitShape<typeof StringMatchSchema> {
  if (match.kind !== 'presence') return { matchType: { case: match.kind, value: match.value } };
  const value: MessageInitShape<typeof EmptySchema> = {};
  return { matchType: { case: 'presence', value } };
}

function fromRange({ address, length }: AddressMessage): IpRange {
  const ip = parseIpBytes(address);
  if (length > (ip.includes(':') ? 128 : 32)) throw malformed(`invalid prefix length ${length} of ${ip}`);
  return { ip, prefixLength: length };
}

function toRange({ ip, prefixLength }: IpRange) {
  return { address: toIpBytes(ip), length: prefixLength };
}

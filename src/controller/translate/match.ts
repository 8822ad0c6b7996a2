/** Matches of a policy, built field by field. */
import type { Match } from '../../model/authorization.ts';

const EMPTY: Match = {
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

/** A match of the given fields only. */
export function matchOf(fields: Partial<Match>): Match {
  return { ...EMPTY, ...fields };
}

/** Such a match is skipped by the tunnels: it never fires. */
export function isEmpty(match: Match): boolean {
  return Object.values(match).every((values) => values.length === 0);
}

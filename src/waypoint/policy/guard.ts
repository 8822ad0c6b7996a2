/**
 * A policy set in front of requests: asks the providers of CUSTOM policies, then decides. The same for a service port and
 * for an endpoint, which differ in what their policies take for the destination.
 */
import type { Logger } from '../../core/logger.ts';
import type { AuthorizationProvider } from '../../model/l7/index.ts';
import type { Exchange } from '../http/exchange.ts';
import type { Reply } from '../http/reply.ts';
import type { ExternalAuthorizer } from './external-authorizer.ts';
import type { PolicyRequest } from './policy-request.ts';
import type { PolicySet } from './policy-set.ts';

export interface GuardDeps {
  readonly providers: readonly AuthorizationProvider[];
  readonly authorizer: ExternalAuthorizer;
  readonly onNote: (policy: string, action: string, matched: boolean) => void;
  readonly log: Logger;
}

/** Envoy's words; a gRPC client reads them from `grpc-message`. */
export function denied(by: string): Reply {
  return {
    status: 403,
    body: 'RBAC: access denied',
    flag: '',
    details: `rbac_access_denied_matched_policy[${by}]`,
  };
}

/** Asks the providers of all CUSTOM policies that match. Undefined: go on. */
export function askProviders(
  set: PolicySet,
  request: PolicyRequest,
  { exchange, deps }: { readonly exchange: Exchange; readonly deps: GuardDeps },
): Promise<Reply | undefined> | undefined {
  const asked = set.customFor(request);
  if (asked.length === 0) return undefined;
  return askInTurn(asked, exchange, deps);
}

async function askInTurn(
  asked: readonly { readonly provider: string; readonly by: string }[],
  exchange: Exchange,
  { providers, authorizer }: GuardDeps,
): Promise<Reply | undefined> {
  for (const { provider, by } of asked) {
    const known = providers.find(({ name }) => name === provider);
    if (!known) return { ...denied(by), flag: 'UAEX', details: 'ext_authz_error' };
    const reply = await authorizer.check(known, exchange);
    if (reply) return reply;
  }
  return undefined;
}

/** AUDIT and dry-run are told, DENY and ALLOW decide. Undefined: go on. */
export function decide(set: PolicySet, request: PolicyRequest, { onNote, log }: GuardDeps): Reply | undefined {
  if (set.hasNotes) {
    for (const { policy, action, matched } of set.notes(request)) {
      onNote(policy, action, matched);
      if (matched) log.info('policy matches without effect', { policy, action, source: request.client.principal });
    }
  }
  const verdict = set.decide(request);
  return verdict.allowed ? undefined : denied(verdict.by);
}

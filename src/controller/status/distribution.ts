/** How far a policy has come: which nodes run it. Pure, from the subscribers of the discovery server. */
import { type Authorization, authorizationKey } from '../../model/authorization.ts';
import { AUTHORIZATION_TYPE, type SubscriberStatus } from '../../xds/index.ts';
import type { ConditionValue, StatusPatch } from '../ir.ts';

export const DISTRIBUTED = 'culvert.dev/Distributed';

/** `changedAt`: the store's generation that last changed the policy. */
export function distributionOf(changedAt: number, subscribers: readonly SubscriberStatus[]): ConditionValue {
  let acknowledged = 0;
  const refused: string[] = [];
  for (const { node, types } of subscribers) {
    const status = types.find(({ typeUrl }) => typeUrl === AUTHORIZATION_TYPE);
    if (status?.lastNack !== undefined) refused.push(node.nodeName || node.id);
    else if ((status?.syncedGeneration ?? status?.ackedGeneration ?? -1) >= changedAt) acknowledged += 1;
  }
  const nodes = subscribers.length;
  const message = `acknowledged by ${acknowledged} of ${nodes} nodes`;
  const value = (status: 'True' | 'False', reason: string, more = ''): ConditionValue => ({
    type: DISTRIBUTED,
    status,
    reason,
    message: message + more,
  });
  if (refused.length > 0) return value('False', 'Refused', `; refused by ${refused.sort().join(', ')}`);
  return nodes > 0 && acknowledged === nodes ? value('True', 'Acknowledged') : value('False', 'Pending');
}

/** One part of the status of every AuthorizationPolicy that is sent. */
export function distributionStatuses(
  policies: readonly Authorization[],
  authored: ReadonlySet<string>,
  given: { readonly changedAt: ReadonlyMap<string, number>; readonly subscribers: readonly SubscriberStatus[] },
): readonly StatusPatch[] {
  return policies
    .filter((policy) => authored.has(authorizationKey(policy)))
    .map((policy) => ({
      kind: { group: 'security.istio.io', kind: 'AuthorizationPolicy' },
      key: { namespace: policy.namespace, name: policy.name },
      conditions: [distributionOf(given.changedAt.get(authorizationKey(policy)) ?? 0, given.subscribers)],
    }));
}

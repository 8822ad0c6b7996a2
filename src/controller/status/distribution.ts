/**
 * How far policies have come: which of the nodes that need one run what it says now. Pure; from what every replica knows
 * of its own subscribers.
 */
import { type Authorization, authorizationKey } from '../../model/authorization.ts';
import { AUTHORIZATION_TYPE, type SubscriberStatus } from '../../xds/index.ts';
import type { ConditionValue, StatusPatch } from '../ir.ts';

export const DISTRIBUTED = 'culvert.dev/Distributed';

/** What a replica tells of its subscribers, in a form that another can add to its own. */
export interface ReplicaReport {
  /** Hash of each policy as this replica serves it: generations of two replicas mean nothing to each other. */
  readonly digests: Readonly<Record<string, string>>;
  readonly nodes: readonly NodeReport[];
  /** By object: gateways that have taken what they need for it. */
  readonly attachments: Readonly<Record<string, readonly string[]>>;
}

export interface NodeReport {
  readonly node: string;
  /** Policies whose newest form it has not acknowledged; nearly always none. */
  readonly missing: readonly string[];
  readonly refused: boolean;
}

export interface ServedPolicies {
  readonly digests: Readonly<Record<string, string>>;
  /** The store's generation that last changed the policy. */
  readonly changedAt: ReadonlyMap<string, number>;
}

export function reportOf(served: ServedPolicies, subscribers: readonly SubscriberStatus[]): ReplicaReport {
  const nodes = subscribers
    .filter(({ node }) => node.gateway === undefined)
    .map(({ node, types }): NodeReport => {
      const status = types.find(({ typeUrl }) => typeUrl === AUTHORIZATION_TYPE);
      const has = status?.syncedGeneration ?? status?.ackedGeneration ?? -1;
      const missing = [...served.changedAt].filter(([, changedAt]) => changedAt > has).map(([key]) => key);
      return { node: node.nodeName || node.id, missing, refused: status?.lastNack !== undefined };
    });
  return { digests: served.digests, nodes, attachments: {} };
}

/** Refuses what is none: a peer may be of another version. */
export function parseReport(value: unknown): ReplicaReport | undefined {
  const { digests, nodes, attachments = {} } = (value ?? {}) as Partial<ReplicaReport>;
  if (typeof digests !== 'object' || digests === null || !Array.isArray(nodes)) return undefined;
  const isNode = ({ node, missing, refused }: Partial<NodeReport>) =>
    typeof node === 'string' && Array.isArray(missing) && typeof refused === 'boolean';
  return nodes.every((one) => isNode(one ?? {})) ? { digests, nodes, attachments } : undefined;
}

/** Which nodes run the newest form of which policies. `reports`: first the own one, which says what is newest. */
export class Distribution {
  readonly #ahead = new Set<string>();
  readonly #behind = new Map<string, Set<string>>();
  readonly #refused = new Set<string>();

  constructor([own, ...others]: readonly [ReplicaReport, ...(readonly ReplicaReport[])]) {
    for (const report of [own, ...others]) {
      const differing = Object.keys(own.digests).filter((key) => report.digests[key] !== own.digests[key]);
      for (const { node, missing, refused } of report.nodes) {
        const behind = [...missing, ...differing];
        this.#ahead.add(node);
        if (behind.length > 0) this.#behind.set(node, new Set(behind));
        if (refused) this.#refused.add(node);
      }
    }
  }

  conditionOf(key: string, needed: ReadonlySet<string>): ConditionValue {
    const running = [...needed].filter((node) => this.#ahead.has(node) && !this.#isBehind(node, key));
    const refusing = [...needed].filter((node) => this.#refused.has(node)).sort();
    const message =
      needed.size === 0 ? 'no node needs it' : `acknowledged by ${running.length} of ${needed.size} nodes that need it`;
    const value = (status: 'True' | 'False', reason: string, more = ''): ConditionValue => ({
      ...{ type: DISTRIBUTED, status, reason },
      message: message + more,
    });
    if (refusing.length > 0) return value('False', 'Refused', `; refused by ${refusing.join(', ')}`);
    return running.length === needed.size ? value('True', 'Acknowledged') : value('False', 'Pending');
  }

  #isBehind(node: string, key: string): boolean {
    return this.#refused.has(node) || this.#behind.get(node)?.has(key) === true;
  }
}

/** One part of the status of every AuthorizationPolicy that is sent. */
export function distributionStatuses(
  policies: readonly Authorization[],
  distribution: Distribution,
  neededBy: (policy: Authorization) => ReadonlySet<string>,
): readonly StatusPatch[] {
  return policies.map((policy) => ({
    kind: { group: 'security.istio.io', kind: 'AuthorizationPolicy' },
    key: { namespace: policy.namespace, name: policy.name },
    conditions: [distribution.conditionOf(authorizationKey(policy), neededBy(policy))],
  }));
}

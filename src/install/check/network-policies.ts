/**
 * NetworkPolicies that keep the mesh out: captured pods talk to each other on one port, and probes come from one
 * address. Pure. Source: Kubernetes networking.k8s.io/v1 NetworkPolicy: policies that select a pod add up.
 */
import type { ApiObject } from '../cluster/cluster.ts';
import { type Finding, ok, warning } from './finding.ts';

const HBONE = 15_008;
const PROBES = ['169.254.7.127/32', 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128'];

interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: readonly string[];
  }[];
}

interface Rule {
  readonly ports?: readonly {
    readonly port?: number | string;
    readonly endPort?: number;
    readonly protocol?: string;
  }[];
}

type Policy = ApiObject & {
  readonly spec?: {
    readonly podSelector?: Selector;
    readonly policyTypes?: readonly string[];
    readonly ingress?: readonly Rule[];
    readonly egress?: readonly Rule[];
  };
};

type Direction = 'ingress' | 'egress';

/** `pods` are those of the mesh. */
export function checkNetworkPolicies(policies: readonly ApiObject[], pods: readonly ApiObject[]): readonly Finding[] {
  const blocked = new Map<string, Finding>();
  for (const pod of pods) {
    for (const direction of ['ingress', 'egress'] as const) {
      const selecting = (policies as readonly Policy[]).filter(
        (policy) =>
          policy.metadata.namespace === pod.metadata.namespace &&
          restricts(policy, direction) &&
          selects(policy.spec?.podSelector ?? {}, pod.metadata.labels ?? {}),
      );
      const first = selecting[0];
      if (first === undefined || selecting.some((policy) => lets(policy, direction))) continue;
      const { namespace, name } = first.metadata;
      blocked.set(`${namespace}/${name}/${direction}`, blockedBy(first, direction));
    }
  }
  if (blocked.size > 0) return [...blocked.values()];
  return policies.length === 0 ? [] : [ok(`NetworkPolicies let port ${HBONE} through`)];
}

function blockedBy(policy: Policy, direction: Direction): Finding {
  const { namespace, name } = policy.metadata;
  const way = direction === 'ingress' ? 'to' : 'from';
  const what = `NetworkPolicy ${namespace}/${name} keeps port ${HBONE} closed ${way} pods of the mesh: they cannot talk`;
  const open = { ports: [{ port: HBONE, protocol: 'TCP' }] };
  const probes = { from: PROBES.map((cidr) => ({ ipBlock: { cidr } })) };
  const added = direction === 'ingress' ? [open, probes] : [open];
  const present = policy.spec?.[direction];
  const patch =
    present === undefined
      ? [{ op: 'add', path: `/spec/${direction}`, value: added }]
      : added.map((value) => ({ op: 'add', path: `/spec/${direction}/-`, value }));
  return warning(what, `kubectl -n ${namespace} patch networkpolicy ${name} --type=json -p '${JSON.stringify(patch)}'`);
}

function restricts({ spec }: Policy, direction: Direction): boolean {
  const types = spec?.policyTypes ?? (spec?.egress === undefined ? ['Ingress'] : ['Ingress', 'Egress']);
  return types.some((type) => type.toLowerCase() === direction);
}

function lets({ spec }: Policy, direction: Direction): boolean {
  return (spec?.[direction] ?? []).some(({ ports }) => {
    if (ports === undefined || ports.length === 0) return true;
    return ports.some(({ port, endPort, protocol = 'TCP' }) => {
      if (protocol !== 'TCP') return false;
      if (port === undefined) return true;
      return typeof port === 'number' && port <= HBONE && HBONE <= (endPort ?? port);
    });
  });
}

function selects(
  { matchLabels = {}, matchExpressions = [] }: Selector,
  labels: Readonly<Record<string, string>>,
): boolean {
  if (!Object.entries(matchLabels).every(([key, value]) => labels[key] === value)) return false;
  return matchExpressions.every(({ key, operator, values = [] }) => {
    const value = labels[key];
    if (operator === 'Exists') return value !== undefined;
    if (operator === 'DoesNotExist') return value === undefined;
    const isIn = value !== undefined && values.includes(value);
    return operator === 'In' ? isIn : !isIn;
  });
}

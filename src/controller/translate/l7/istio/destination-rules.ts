/**
 * Which DestinationRule holds for a service at a waypoint, and what it says port by port.
 * Looked for in the waypoint's namespace, the service's, then the root; the host that says most wins. Several for one host
 * count together: the oldest policy, the subsets of all.
 * Source: Istio DestinationRule (lookup for a waypoint, merging).
 */
import type { ClusterPort, Subset, TrafficPolicy } from '../../../../model/l7/index.ts';
import type { DestinationRuleSpec } from '../../../../schema/index.ts';
import type { StatusPatch } from '../../../ir.ts';
import { byAge, type DestinationRule, namespaceOf } from '../../../resources.ts';
import type { ServiceInfo } from '../../service-info.ts';
import { fullHostname } from './destination.ts';
import { type Credentials, policyFor } from './traffic-policy.ts';

export interface RuleSettings {
  readonly rootNamespace: string;
  readonly clusterDomain: string;
}

/** The rules of a mesh, to be asked for one service and one gateway. */
export class DestinationRules {
  readonly #settings: RuleSettings;
  readonly #byNamespace = new Map<string, DestinationRule[]>();
  readonly #problems = new Map<DestinationRule, Set<string>>();
  readonly #used = new Set<DestinationRule>();

  constructor(rules: readonly DestinationRule[], settings: RuleSettings) {
    this.#settings = settings;
    for (const rule of [...rules].sort(byAge)) {
      const list = this.#byNamespace.get(namespaceOf(rule));
      if (list) list.push(rule);
      else this.#byNamespace.set(namespaceOf(rule), [rule]);
    }
  }

  /** Those that hold for the service at gateways of a namespace, oldest first. */
  find({ service }: ServiceInfo, gatewayNamespace: string): readonly DestinationRule[] {
    const viewers = [gatewayNamespace, service.namespace];
    for (const namespace of new Set([...viewers, this.#settings.rootNamespace])) {
      const visible = (this.#byNamespace.get(namespace) ?? []).filter(
        (rule) => isVisible(rule, viewers) && !rule.spec.workloadSelector,
      );
      const fits = visible.map((rule) => [this.#fit(rule, service.hostname), rule] as const);
      const best = Math.max(0, ...fits.map(([fit]) => fit));
      if (best > 0) return fits.flatMap(([fit, rule]) => (fit === best ? [rule] : []));
    }
    return [];
  }

  /** Whether some gateway's rule for the service has the subset. */
  hasSubset(info: ServiceInfo, subset: string, gatewayNamespaces: Iterable<string>): boolean {
    return [info.service.namespace, ...gatewayNamespaces].some((namespace) =>
      this.find(info, namespace).some(({ spec }) => spec.subsets?.some(({ name }) => name === subset)),
    );
  }

  /** The service's ports under its rules. */
  apply(
    ports: readonly ClusterPort[],
    rules: readonly DestinationRule[],
    findCredentials: (name: string) => Credentials | undefined,
  ): readonly ClusterPort[] {
    const [first] = rules;
    if (!first) return ports;
    for (const rule of rules) this.#used.add(rule);
    const owner = rules.find(({ spec }) => spec.trafficPolicy) ?? first;
    const rule = owner.spec.trafficPolicy;
    const context = (object: DestinationRule) => ({
      findCredentials,
      report: (problem: string) => this.#report(object, problem),
    });
    return ports.map((port): ClusterPort => {
      const policy: TrafficPolicy = policyFor(port.port, { rule }, context(owner));
      const subsets = new Map<string, Subset>();
      for (const object of rules) {
        for (const { name, labels = {}, trafficPolicy } of object.spec.subsets ?? []) {
          if (subsets.has(name)) continue;
          const own = policyFor(port.port, { rule, subset: trafficPolicy }, context(object));
          subsets.set(name, { name, labels, policy: own });
        }
      }
      return { ...port, policy, subsets: [...subsets.values()] };
    });
  }

  statuses(): readonly StatusPatch[] {
    return [...this.#byNamespace.values()].flat().map((rule) => this.#status(rule));
  }

  #fit({ spec, metadata }: DestinationRule, hostname: string): number {
    const { clusterDomain } = this.#settings;
    const host = fullHostname(spec.host, metadata.namespace ?? '', clusterDomain);
    if (host === hostname || spec.host.toLowerCase() === hostname) return Number.MAX_SAFE_INTEGER;
    return host.startsWith('*') && hostname.endsWith(host.slice(1)) ? host.length : 0;
  }

  #report(rule: DestinationRule, problem: string): void {
    const known = this.#problems.get(rule);
    if (known) known.add(problem);
    else this.#problems.set(rule, new Set([problem]));
  }

  #status(rule: DestinationRule): StatusPatch {
    const problems = this.#problems.get(rule);
    const { host, workloadSelector } = rule.spec;
    const [reason, message] = workloadSelector
      ? ['WorkloadSelectorNotServed', 'workloadSelector selects sidecars, of which ambient mode has none']
      : problems
        ? ['PartiallyInvalid', [...problems].join('; ')]
        : this.#used.has(rule)
          ? ['Accepted', `in force at the waypoints that send to ${host}`]
          : ['NotUsed', `no waypoint sends to ${host}: the rule takes no effect`];
    return {
      kind: { group: 'networking.istio.io', kind: 'DestinationRule' },
      key: { namespace: namespaceOf(rule), name: rule.metadata.name },
      conditions: [{ type: 'culvert.dev/Served', status: reason === 'Accepted' ? 'True' : 'False', reason, message }],
    };
  }
}

function isVisible({ spec, metadata }: DestinationRule, viewers: readonly string[]): boolean {
  const exported: NonNullable<DestinationRuleSpec['exportTo']> = spec.exportTo ?? [];
  if (exported.length === 0 || exported.includes('*')) return true;
  return exported.some((namespace) => viewers.includes(namespace === '.' ? (metadata.namespace ?? '') : namespace));
}

/** Keeps the nodes' service rules in step with services and pods: one nftables transaction per node and change. */
import type { Logger } from '../core/logger.ts';
import type { ClusterApi } from './cluster-api.ts';
import { type ClusterPlan, netnsPath } from './cluster-plan.ts';
import { run } from './process-runner.ts';
import { ReconcileLoop } from './reconcile-loop.ts';
import { type ServiceRule, serviceRules, serviceScript } from './service-rules.ts';

export class ServiceProxy implements AsyncDisposable {
  readonly #plan: ClusterPlan;
  readonly #api: ClusterApi;
  readonly #loop: ReconcileLoop;
  readonly #subscriptions: readonly Disposable[];
  #applied: string | undefined;

  constructor(plan: ClusterPlan, api: ClusterApi, log: Logger) {
    this.#plan = plan;
    this.#api = api;
    this.#loop = new ReconcileLoop('services', log, () => this.#reconcile());
    const kick = (): void => this.#loop.kick();
    this.#subscriptions = [api.pods.subscribe(kick), api.services.subscribe(kick)];
    kick();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]();
    await this.#loop[Symbol.asyncDispose]();
  }

  async #reconcile(): Promise<void> {
    const rules = [...dnsRules(this.#plan), ...serviceRules(this.#api.services.list(), this.#api.pods.list())];
    const script = serviceScript(rules);
    if (script === this.#applied) return;
    for (const node of this.#plan.nodes) {
      await run('nsenter', [`--net=${netnsPath(node.netns)}`, 'nft', '-f', '-'], { input: script });
    }
    this.#applied = script;
  }
}

/** The cluster's DNS address leads to the server in the fabric. */
function dnsRules(plan: ClusterPlan): readonly ServiceRule[] {
  const pairs = [
    [plan.dnsIp4, plan.gateway4],
    [plan.dnsIp6, plan.gateway6],
  ] as const;
  return pairs.flatMap(([ip, server]) =>
    (['udp', 'tcp'] as const).map((protocol) => ({ ip, protocol, port: 53, endpoints: [{ ip: server, port: 53 }] })),
  );
}

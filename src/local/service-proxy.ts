/** Keeps the nodes' service rules in step with services and pods: one nftables transaction per node and change. */
import type { Logger } from '../core/logger.ts';
import type { ClusterApi } from './cluster-api.ts';
import { type ClusterPlan, CONTROL_PLANE_PORT, netnsPath } from './cluster-plan.ts';
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
    const rules = [...systemRules(this.#plan), ...serviceRules(this.#api.services.list(), this.#api.pods.list())];
    const script = serviceScript(rules);
    if (script === this.#applied) return;
    for (const node of this.#plan.nodes) {
      await run('nsenter', [`--net=${netnsPath(node.netns)}`, 'nft', '-f', '-'], { input: script });
    }
    this.#applied = script;
  }
}

/** DNS and the control plane are no pods: their addresses lead to the fabric. */
function systemRules(plan: ClusterPlan): readonly ServiceRule[] {
  const rule = (ip: string, protocol: 'tcp' | 'udp', port: number, server: string): ServiceRule => ({
    ip,
    protocol,
    port,
    endpoints: [{ ip: server, port }],
  });
  return [
    rule(plan.dnsIp4, 'udp', 53, plan.gateway4),
    rule(plan.dnsIp4, 'tcp', 53, plan.gateway4),
    rule(plan.dnsIp6, 'udp', 53, plan.gateway6),
    rule(plan.dnsIp6, 'tcp', 53, plan.gateway6),
    rule(plan.controlPlaneIp4, 'tcp', CONTROL_PLANE_PORT, plan.gateway4),
  ];
}

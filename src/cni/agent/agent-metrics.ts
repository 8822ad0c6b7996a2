/** Metrics of the agent. Source: the names of Istio's CNI node agent. */
import { Counter, Gauge, Histogram } from 'prom-client';
import type { MetricsRegistry } from '../../core/metrics.ts';

export type InstallResult = 'SUCCESS' | 'COPY_BINARIES_FAILURE' | 'CREATE_CNI_CONFIG_FAILURE';

export interface AgentMetrics {
  installReady(ready: boolean): void;
  installed(result: InstallResult): void;
  pluginAnswered(status: number): void;
  /** Where refused calls are counted from, by CNI error code; asked at every scrape. */
  countRefusals(read: () => Promise<ReadonlyMap<string, number>>): void;
  reconciled(type: 'add' | 'update' | 'delete'): void;
  tunnels(count: number): void;
  clearFound(counts: { readonly inbound: number; readonly outbound: number }): void;
  clearCut(count: number): void;
  /** From the plugin's request to its answer. */
  addTook(seconds: number): void;
  /** Pods by the back-end that captures them. */
  captured(countByBackend: ReadonlyMap<string, number>): void;
}

export function agentMetrics(registry: MetricsRegistry): AgentMetrics {
  const registers = [registry];
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers });
  const counter = (name: string, help: string, label: string) =>
    new Counter({ name, help, labelNames: [label], registers });
  const ready = gauge('istio_cni_install_ready', 'Whether the CNI plugin installation is ready or not');
  const installs = counter(
    'istio_cni_installs_total',
    'Total number of CNI plugins installed by the Istio CNI installer',
    'result',
  );
  const requests = counter(
    'istio_cni_plugin_requests_total',
    'The total number of CNI plugin requests handled by the node agent.',
    'response_code',
  );
  const events = counter(
    'nodeagent_reconcile_events_total',
    'The total number of node agent reconcile events.',
    'type',
  );
  const connected = gauge('ztunnel_connected', 'number of connections to ztunnel');
  const found = counter(
    'culvert_cni_clear_connections_total',
    'Connections that were open in clear when their pod joined the mesh.',
    'direction',
  );
  const cut = new Counter({
    name: 'culvert_cni_clear_connections_cut_total',
    help: 'Connections in clear that a policy forbade and that were cut.',
    registers,
  });
  const adds = new Histogram({
    name: 'culvert_cni_add_duration_seconds',
    help: 'Time from the request of the CNI plugin to the answer.',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5],
    registers,
  });
  const captured = new Gauge({
    name: 'culvert_cni_captured_pods',
    help: 'Pods in the mesh by the way their traffic is redirected.',
    labelNames: ['backend'],
    registers,
  });
  ready.set(0);
  connected.set(0);
  return {
    installReady: (isReady) => ready.set(isReady ? 1 : 0),
    installed: (result) => installs.inc({ result }),
    pluginAnswered: (status) => requests.inc({ response_code: String(status) }),
    countRefusals(read) {
      new Counter({
        name: 'culvert_cni_plugin_refused_calls_total',
        help: 'CNI calls that the plugin refused, by itself or because the agent did, by CNI error code.',
        labelNames: ['code'],
        registers,
        async collect() {
          const counts = await read();
          this.reset();
          for (const [code, count] of counts) this.inc({ code }, count);
        },
      });
    },
    reconciled: (type) => events.inc({ type }),
    tunnels: (count) => connected.set(count),
    clearFound({ inbound, outbound }) {
      found.inc({ direction: 'inbound' }, inbound);
      found.inc({ direction: 'outbound' }, outbound);
    },
    clearCut: (count) => cut.inc(count),
    addTook: (seconds) => adds.observe(seconds),
    captured(countByBackend) {
      captured.reset();
      for (const [backend, count] of countByBackend) captured.set({ backend }, count);
    },
  };
}

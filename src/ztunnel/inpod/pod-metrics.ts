/** Counts of pod proxies. Source: Istio ztunnel in-pod metrics. */
import { Counter, Gauge } from 'prom-client';
import type { MetricsRegistry } from '../../core/metrics.ts';

export class PodMetrics {
  readonly #started: Counter;
  readonly #stopped: Counter;

  constructor(registry: MetricsRegistry, pods: () => { readonly active: number; readonly pending: number }) {
    const registers = [registry];
    new Gauge({
      name: 'workload_manager_active_proxy_count',
      help: 'The total number current workloads with active proxies (unstable).',
      registers,
      collect() {
        this.set(pods().active);
      },
    });
    new Gauge({
      name: 'workload_manager_pending_proxy_count',
      help: 'The total number current workloads with pending proxies (unstable).',
      registers,
      collect() {
        this.set(pods().pending);
      },
    });
    this.#started = new Counter({
      name: 'workload_manager_proxies_started_total',
      help: 'The total number of proxies that were started (unstable).',
      registers,
    });
    this.#stopped = new Counter({
      name: 'workload_manager_proxies_stopped_total',
      help: 'The total number of proxies that were stopped (unstable).',
      registers,
    });
  }

  started(): void {
    this.#started.inc();
  }

  stopped(): void {
    this.#stopped.inc();
  }
}

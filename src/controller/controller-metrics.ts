/** Metrics of the control plane, under Istio's names where it has one. */
import { Counter, Gauge, Histogram } from 'prom-client';
import { type MetricsRegistry, newMetricsRegistry } from '../core/metrics.ts';

export interface ControllerMetrics {
  readonly registry: MetricsRegistry;
  pushed(typeUrl: string, bytes: number): void;
  nacked(typeUrl: string): void;
  /** Takes the sizes of the IR after a pass. */
  translated(seconds: number, sizes: Readonly<Record<string, number>>): void;
  signed(result: string): void;
}

export interface MetricSources {
  readonly subscribers: () => number;
  readonly problems: () => number;
  readonly rootNotAfterMs: () => number;
}

export function controllerMetrics(sources: MetricSources): ControllerMetrics {
  const registry = newMetricsRegistry();
  const registers = [registry];
  gauge('pilot_xds', 'Number of endpoints connected to this pilot using XDS.', sources.subscribers);
  gauge('culvert_manifest_problems', 'Objects and files that could not be used.', sources.problems);
  gauge(
    'citadel_server_root_cert_expiry_timestamp',
    'The unix timestamp, in seconds, when the root cert will expire.',
    () => sources.rootNotAfterMs() / 1_000,
  );
  const pushes = new Counter({
    name: 'pilot_xds_pushes',
    help: 'Responses sent, by type.',
    labelNames: ['type'],
    registers,
  });
  const bytes = new Counter({
    name: 'culvert_xds_sent_bytes',
    help: 'Bytes of responses sent, by type.',
    labelNames: ['type'],
    registers,
  });
  const nacks = new Counter({
    name: 'culvert_xds_rejections',
    help: 'Responses that a subscriber refused, wholly or in part.',
    labelNames: ['type'],
    registers,
  });
  const passes = new Histogram({
    name: 'culvert_translation_seconds',
    help: 'Time from resources to staged pushes.',
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1],
    registers,
  });
  const sizes = new Gauge({
    name: 'culvert_served_resources',
    help: 'Resources served, by kind.',
    labelNames: ['kind'],
    registers,
  });
  const requests = new Counter({
    name: 'citadel_server_csr_count',
    help: 'The number of CSRs received by Citadel server.',
    registers,
  });
  const results = new Counter({
    name: 'culvert_certificate_requests',
    help: 'Requests for certificates, by how they ended.',
    labelNames: ['result'],
    registers,
  });
  return {
    registry,
    pushed(typeUrl, size) {
      pushes.inc({ type: shortType(typeUrl) });
      bytes.inc({ type: shortType(typeUrl) }, size);
    },
    nacked: (typeUrl) => nacks.inc({ type: shortType(typeUrl) }),
    translated(seconds, counts) {
      passes.observe(seconds);
      for (const [kind, count] of Object.entries(counts)) sizes.set({ kind }, count);
    },
    signed(result) {
      requests.inc();
      results.inc({ result });
    },
  };

  function gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  }
}

/** Types come from peers: those we do not serve share one label value. */
function shortType(typeUrl: string): string {
  const name = typeUrl.slice(typeUrl.lastIndexOf('.') + 1);
  return name === 'Address' || name === 'Authorization' ? name : 'other';
}

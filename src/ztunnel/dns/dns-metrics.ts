/** Metrics of the DNS proxy. Labels as those of the Istio node tunnel. */
import { Counter, Histogram } from 'prom-client';
import type { MetricsRegistry } from '../../core/metrics.ts';
import type { Workload } from '../../model/workload.ts';
import { TYPE_A, TYPE_AAAA } from './dns-message.ts';

const LABELS = [
  'request_query_type',
  'request_protocol',
  'source_canonical_service',
  'source_canonical_revision',
] as const;
export type DnsLabels = Readonly<Record<(typeof LABELS)[number], string>>;

const TYPE_NAMES: Readonly<Record<number, string>> = {
  [TYPE_A]: 'a',
  2: 'ns',
  5: 'cname',
  6: 'soa',
  12: 'ptr',
  15: 'mx',
  16: 'txt',
  [TYPE_AAAA]: 'aaaa',
  33: 'srv',
  64: 'svcb',
  65: 'https',
  255: 'any',
};

export class DnsMetrics {
  readonly requests: Counter<keyof DnsLabels>;
  readonly upstreamRequests: Counter<keyof DnsLabels>;
  readonly upstreamFailures: Counter<keyof DnsLabels>;
  readonly upstreamDuration: Histogram<keyof DnsLabels>;

  constructor(registry: MetricsRegistry) {
    const counter = (name: string, help: string): Counter<keyof DnsLabels> =>
      new Counter({ name, help, labelNames: LABELS, registers: [registry] });
    this.requests = counter('istio_dns_requests_total', 'Total number of DNS requests (unstable).');
    this.upstreamRequests = counter(
      'istio_dns_upstream_requests_total',
      'Total number of DNS requests forwarded to upstream (unstable).',
    );
    this.upstreamFailures = counter(
      'istio_dns_upstream_failures_total',
      'Total number of DNS failures forwarded to upstream (unstable).',
    );
    this.upstreamDuration = new Histogram({
      name: 'istio_dns_upstream_request_duration_seconds',
      help: 'Total time in seconds Istio takes to get DNS response from upstream (unstable).',
      labelNames: LABELS,
      buckets: [0.0005, 0.001, 0.01, 0.1, 1, 5],
      registers: [registry],
    });
  }
}

/** Types without a name share one label, so that a client cannot make series without end. */
export function dnsLabels(type: number, protocol: 'udp' | 'tcp', client: Workload | undefined): DnsLabels {
  return {
    request_query_type: TYPE_NAMES[type] ?? 'other',
    request_protocol: protocol,
    source_canonical_service: client?.canonicalName || 'unknown',
    source_canonical_revision: client?.canonicalRevision || 'unknown',
  };
}

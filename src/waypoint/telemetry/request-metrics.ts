/**
 * Istio's standard request and TCP metrics with `reporter="waypoint"`. Labels are put together once for each distinct
 * combination: a request looks its counters up by one key.
 */
import { LRUCache } from 'lru-cache';
import { Counter } from 'prom-client';
import type { MetricsRegistry } from '../../core/metrics.ts';
import { identityUri } from '../../model/identity.ts';
import type { MetricOverride } from '../../model/l7/index.ts';
import type { Exchange } from '../http/exchange.ts';
import type { ConnectionEnd } from '../listener/tcp-proxy.ts';
import type { TunnelContext } from '../listener/tunnel-context.ts';
import type { CompiledPort } from '../state/compiled-service.ts';
import { overridden } from './metric-overrides.ts';
import { type HistogramSeries, histogramMetric, type SeriesMetric } from './series.ts';

const UNKNOWN = 'unknown';
/** Distinct combinations that are remembered; the registry itself keeps them all. */
const REMEMBERED = 20_000;

const TRAFFIC_LABELS = [
  'reporter',
  'source_workload',
  'source_canonical_service',
  'source_canonical_revision',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
  'destination_workload',
  'destination_workload_namespace',
  'destination_principal',
  'destination_app',
  'destination_version',
  'destination_cluster',
  'destination_service',
  'destination_service_name',
  'destination_service_namespace',
  'destination_canonical_service',
  'destination_canonical_revision',
  'request_protocol',
  'response_flags',
  'connection_security_policy',
] as const;
const REQUEST_LABELS = [...TRAFFIC_LABELS, 'response_code', 'grpc_response_status'] as const;

type RequestLabel = (typeof REQUEST_LABELS)[number];
type Labels = Partial<Record<RequestLabel, string>>;

const DURATION_BUCKETS_MS = [0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000];
const SIZE_BUCKETS = [1, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

interface RequestChildren {
  /** Undefined: the metric is off. */
  readonly counter: Counter.Internal | undefined;
  /** Not yet added to the counter. */
  pending: number;
  readonly duration: HistogramSeries | undefined;
  readonly requestBytes: HistogramSeries | undefined;
  readonly responseBytes: HistogramSeries | undefined;
}

export class RequestMetrics {
  #overrides: readonly MetricOverride[] = [];
  readonly #children = new LRUCache<string, RequestChildren>({ max: REMEMBERED, dispose: addPending });
  readonly #requests: Counter<RequestLabel>;
  readonly #duration: SeriesMetric<HistogramSeries>;
  readonly #requestBytes: SeriesMetric<HistogramSeries>;
  readonly #responseBytes: SeriesMetric<HistogramSeries>;
  readonly #tcp: Readonly<Record<'opened' | 'closed' | 'sent' | 'received', Counter<RequestLabel>>>;
  readonly #malformed: Counter<'code'>;

  constructor(registry: MetricsRegistry) {
    const counter = (name: string, help: string) =>
      new Counter({ name, help, labelNames: TRAFFIC_LABELS, registers: [registry] }) as Counter<RequestLabel>;
    const histogram = (name: string, help: string, bounds: readonly number[]) =>
      histogramMetric({ name, help }, bounds, registry);
    const children = this.#children;
    this.#requests = new Counter({
      name: 'istio_requests_total',
      help: 'Requests, by what became of them.',
      labelNames: REQUEST_LABELS,
      registers: [registry],
      collect: () => {
        for (const one of children.values()) addPending(one);
      },
    });
    const ms = 'istio_request_duration_milliseconds';
    this.#duration = histogram(ms, 'Time from the head of a request to the end of its answer.', DURATION_BUCKETS_MS);
    this.#requestBytes = histogram('istio_request_bytes', 'Size of request bodies.', SIZE_BUCKETS);
    this.#responseBytes = histogram('istio_response_bytes', 'Size of answer bodies.', SIZE_BUCKETS);
    this.#tcp = {
      opened: counter('istio_tcp_connections_opened_total', 'The total number of TCP connections opened.'),
      closed: counter('istio_tcp_connections_closed_total', 'The total number of TCP connections closed.'),
      sent: counter('istio_tcp_sent_bytes_total', 'The size of total bytes sent during response.'),
      received: counter('istio_tcp_received_bytes_total', 'The size of total bytes received during request.'),
    };
    this.#malformed = new Counter({
      name: 'culvert_waypoint_malformed_requests_total',
      help: 'Requests that the parser refused, by its code (unstable).',
      labelNames: ['code'],
      registers: [registry],
    });
  }

  request(exchange: Exchange, port: CompiledPort, durationMs: number): void {
    const { client, endpoint, status, flag, grpcStatus, isGrpc } = exchange;
    const protocol = isGrpc ? 'grpc' : 'http';
    const { overrides } = (port.service.telemetry ?? port.gateway.telemetry).metrics;
    // Counters that were put together under other settings are not used any more.
    if (overrides.length > 0 || this.#overrides.length > 0) this.#use(overrides);
    const to = endpoint?.endpoint;
    const key = `${port.service.hostname} ${client.principal} ${client.ip} ${to?.uid} ${exchange.cluster} ${status} ${flag} ${grpcStatus} ${protocol}`;
    let children = this.#children.get(key);
    if (!children) {
      const labels = {
        ...trafficLabels(client, port, to),
        request_protocol: protocol,
        response_flags: flag === '' ? '-' : flag,
        response_code: String(status),
        grpc_response_status: grpcStatus ?? '',
      };
      const child = <C>(metric: string, of: (own: Record<string, string>) => C): C | undefined => {
        const own = overridden(metric, labels, overrides);
        return own && of(own);
      };
      children = {
        counter: child('REQUEST_COUNT', (own) => this.#requests.labels(own)),
        pending: 0,
        duration: child('REQUEST_DURATION', (own) => this.#duration.of(own)),
        requestBytes: child('REQUEST_SIZE', (own) => this.#requestBytes.of(own)),
        responseBytes: child('RESPONSE_SIZE', (own) => this.#responseBytes.of(own)),
      };
      this.#children.set(key, children);
    }
    children.pending += 1;
    children.duration?.observe(durationMs);
    children.requestBytes?.observe(exchange.bytesReceived);
    children.responseBytes?.observe(exchange.bytesSent);
  }

  #use(overrides: readonly MetricOverride[]): void {
    if (overrides === this.#overrides) return;
    this.#overrides = overrides;
    this.#children.clear();
  }

  tcpOpened({ client }: TunnelContext, port: CompiledPort): void {
    this.#tcp.opened.labels({ ...trafficLabels(client, port, undefined), ...TCP }).inc();
  }

  tcpClosed({ client }: TunnelContext, port: CompiledPort, end: ConnectionEnd): void {
    const labels = { ...trafficLabels(client, port, undefined), ...TCP, response_flags: end.flag || '-' };
    this.#tcp.closed.labels(labels).inc();
    this.#tcp.sent.labels(labels).inc(end.bytesSent);
    this.#tcp.received.labels(labels).inc(end.bytesReceived);
  }

  malformed(code: string): void {
    this.#malformed.labels({ code }).inc();
  }
}

/** Into the counter, which hashes its labels every time. */
function addPending(children: RequestChildren): void {
  if (children.pending > 0) children.counter?.inc(children.pending);
  children.pending = 0;
}

const TCP: Labels = { request_protocol: 'tcp', response_flags: '-' };

function trafficLabels(
  client: Exchange['client'],
  { service }: CompiledPort,
  to: NonNullable<Exchange['endpoint']>['endpoint'] | undefined,
): Labels {
  return {
    reporter: 'waypoint',
    source_workload: UNKNOWN,
    source_canonical_service: UNKNOWN,
    source_canonical_revision: 'latest',
    source_workload_namespace: client.identity.namespace,
    source_principal: identityUri(client.identity),
    source_app: UNKNOWN,
    source_version: UNKNOWN,
    source_cluster: UNKNOWN,
    destination_workload: to?.workloadName || UNKNOWN,
    destination_workload_namespace: to?.namespace || UNKNOWN,
    destination_principal: to?.identity || UNKNOWN,
    destination_app: to?.canonicalName || UNKNOWN,
    destination_version: to?.canonicalRevision || UNKNOWN,
    destination_cluster: to?.clusterId || UNKNOWN,
    destination_service: service.hostname,
    destination_service_name: service.name,
    destination_service_namespace: service.namespace,
    destination_canonical_service: to?.canonicalName || UNKNOWN,
    destination_canonical_revision: to?.canonicalRevision || 'latest',
    connection_security_policy: 'mutual_tls',
  };
}

/** Counters of proxied connections. Labels are resolved once per connection and flag, never per chunk of bytes. */
import { Counter, Gauge } from 'prom-client';
import type { MetricsRegistry } from '../../core/metrics.ts';
import type { ListenerKind, ResponseFlag } from '../../engine/index.ts';
import type { ConnectionRecord } from '../connection-record.ts';
import { TRAFFIC_LABELS, type TrafficLabel, trafficLabels } from './traffic-labels.ts';

/** The series of one connection. */
export interface ConnectionCounters {
  opened(): void;
  /** From the client to the server, and back. */
  bytes(received: number, sent: number): void;
  closed(flag: ResponseFlag): void;
}

export class TrafficMetrics {
  readonly #opened: Counter<TrafficLabel>;
  readonly #closed: Counter<TrafficLabel>;
  readonly #received: Counter<TrafficLabel>;
  readonly #sent: Counter<TrafficLabel>;
  readonly #failed: Counter<TrafficLabel>;
  readonly #socketsOpen: Gauge<'reporter'>;
  readonly #crlRejections: Counter<'reporter'>;
  readonly #refusals: Counter<'reporter' | 'reason'>;

  constructor(registry: MetricsRegistry) {
    const counter = (name: string, help: string): Counter<TrafficLabel> =>
      new Counter({ name, help, labelNames: TRAFFIC_LABELS, registers: [registry] });
    this.#opened = counter('istio_tcp_connections_opened_total', 'The total number of TCP connections opened.');
    this.#closed = counter('istio_tcp_connections_closed_total', 'The total number of TCP connections closed.');
    this.#received = counter(
      'istio_tcp_received_bytes_total',
      'The size of total bytes received during request in case of a TCP connection.',
    );
    this.#sent = counter(
      'istio_tcp_sent_bytes_total',
      'The size of total bytes sent during response in case of a TCP connection.',
    );
    this.#failed = counter(
      'istio_tcp_connections_failed_total',
      'The total number of TCP connections that failed to establish (unstable).',
    );
    this.#socketsOpen = new Gauge({
      name: 'istio_tcp_sockets_open',
      help: 'The current number of open TCP sockets (unstable).',
      labelNames: ['reporter'],
      registers: [registry],
    });
    this.#crlRejections = new Counter({
      name: 'istio_crl_policy_rejections_total',
      help: 'The total number of connections rejected by a certificate revocation list (unstable).',
      labelNames: ['reporter'],
      registers: [registry],
    });
    this.#refusals = new Counter({
      name: 'culvert_connections_refused_total',
      help: 'The total number of connections refused before they were judged by policy (unstable).',
      labelNames: ['reporter', 'reason'],
      registers: [registry],
    });
  }

  connection(record: ConnectionRecord): ConnectionCounters {
    const labels = trafficLabels(record, '-');
    const received = this.#received.labels(labels);
    const sent = this.#sent.labels(labels);
    return {
      opened: () => this.#opened.inc(labels),
      bytes(receivedBytes, sentBytes) {
        if (receivedBytes > 0) received.inc(receivedBytes);
        if (sentBytes > 0) sent.inc(sentBytes);
      },
      closed: (flag) => {
        const final = flag === '-' ? labels : trafficLabels(record, flag);
        this.#closed.inc(final);
        if (flag !== '-') this.#failed.inc(final);
      },
    };
  }

  socketsOpen(kind: ListenerKind, delta: 1 | -1): void {
    this.#socketsOpen.inc({ reporter: reporterOf(kind) }, delta);
  }

  /** A TLS or HTTP/2 handshake that failed, or a connection that was refused before policy. */
  refused(kind: ListenerKind, reason: string): void {
    this.#refusals.inc({ reporter: reporterOf(kind), reason });
  }

  /** A revocation list refused a peer. */
  peerRevoked(kind: ListenerKind): void {
    this.#crlRejections.inc({ reporter: reporterOf(kind) });
  }
}

function reporterOf(kind: ListenerKind): 'source' | 'destination' {
  return kind === 'outbound' ? 'source' : 'destination';
}

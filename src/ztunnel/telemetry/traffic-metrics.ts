/**
 * Counters of proxied connections. Labels are resolved once per connection or for many alike, never per chunk of bytes:
 * what is counted is added to the series when they are read.
 */
import { Counter, Gauge } from 'prom-client';
import type { MetricsRegistry } from '../../core/metrics.ts';
import type { ListenerKind, ResponseFlag } from '../../engine/index.ts';
import type { ConnectionRecord } from '../connection-record.ts';
import { TRAFFIC_LABELS, type TrafficLabel, type TrafficLabels, trafficLabels } from './traffic-labels.ts';

/** The series of one connection. */
export interface ConnectionCounters {
  opened(): void;
  /** From the client to the server, and back. */
  bytes(received: number, sent: number): void;
  closed(flag: ResponseFlag): void;
}

/** Adds under one set of labels, and tells the counter when it is read. */
class Series {
  readonly labels: TrafficLabels;
  readonly #counter: Counter<TrafficLabel>;
  readonly #pending: Set<Series>;
  #value = 0;

  constructor(counter: Counter<TrafficLabel>, pending: Set<Series>, labels: TrafficLabels) {
    this.#counter = counter;
    this.#pending = pending;
    this.labels = labels;
  }

  add(value: number): void {
    if (value <= 0) return;
    this.#value += value;
    this.#pending.add(this);
  }

  flush(): void {
    this.#counter.inc(this.labels, this.#value);
    this.#value = 0;
  }
}

export class TrafficMetrics {
  /** Series with something to add, by counter. */
  readonly #pending = new Map<Counter<TrafficLabel>, Set<Series>>();
  readonly #opened: Counter<TrafficLabel>;
  readonly #closed: Counter<TrafficLabel>;
  readonly #received: Counter<TrafficLabel>;
  readonly #sent: Counter<TrafficLabel>;
  readonly #failed: Counter<TrafficLabel>;
  readonly #socketsOpen: Gauge<'reporter'>;
  readonly #crlRejections: Counter<'reporter'>;
  readonly #refusals: Counter<'reporter' | 'reason'>;

  constructor(registry: MetricsRegistry) {
    const counter = (name: string, help: string): Counter<TrafficLabel> => {
      const pending = new Set<Series>();
      const collect = (): void => {
        for (const series of pending) series.flush();
        pending.clear();
      };
      const made = new Counter({ name, help, labelNames: TRAFFIC_LABELS, registers: [registry], collect });
      this.#pending.set(made, pending);
      return made;
    };
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
    const [opened, closed, received, sent] = [this.#opened, this.#closed, this.#received, this.#sent].map((counter) =>
      this.#series(counter, labels),
    ) as [Series, Series, Series, Series]; // one for each of the four
    return {
      opened: () => opened.add(1),
      bytes(receivedBytes, sentBytes) {
        received.add(receivedBytes);
        sent.add(sentBytes);
      },
      closed: (flag) => {
        if (flag === '-') {
          closed.add(1);
          return;
        }
        const final = trafficLabels(record, flag);
        this.#closed.inc(final);
        this.#failed.inc(final);
      },
    };
  }

  #series(counter: Counter<TrafficLabel>, labels: TrafficLabels): Series {
    return new Series(counter, this.#pending.get(counter) ?? new Set(), labels);
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

/** Log and counters of proxied connections behind one face. */
import type { ListenerKind, ResponseFlag } from '../../engine/index.ts';
import type { IpPort } from '../../model/address.ts';
import type { ConnectionRecord } from '../connection-record.ts';
import type { AccessLog, AccessOutcome } from './access-log.ts';
import type { ConnectionCounters, TrafficMetrics } from './traffic-metrics.ts';

export interface EarlyRefusal {
  readonly kind: ListenerKind;
  readonly source: IpPort;
  readonly destination: IpPort;
  readonly error: string;
  /** Short word for the counter. */
  readonly reason: string;
}

export class TrafficTelemetry {
  readonly #accessLog: AccessLog;
  readonly #metrics: TrafficMetrics;

  constructor(accessLog: AccessLog, metrics: TrafficMetrics) {
    this.#accessLog = accessLog;
    this.#metrics = metrics;
  }

  /** The series of connections with the same labels as this one. */
  counters(record: ConnectionRecord): ConnectionCounters {
    return this.#metrics.connection(record);
  }

  /** Counts and logs the start of a connection. */
  open(record: ConnectionRecord, counters = this.counters(record)): ConnectionCounters {
    counters.opened();
    this.#accessLog.opened(record);
    return counters;
  }

  close(
    record: ConnectionRecord,
    counters: ConnectionCounters,
    outcome: AccessOutcome & { readonly flag: ResponseFlag },
  ): void {
    counters.closed(outcome.flag);
    this.#accessLog.completed(record, outcome);
  }

  /** A whole connection that policy refused. */
  deny(record: ConnectionRecord, error: string): void {
    const counters = this.open(record);
    this.close(record, counters, { flag: 'DENY', error, bytesReceived: 0, bytesSent: 0, durationMs: 0 });
  }

  /** A connection that was refused before enough was known for a record; counted apart. */
  refuse({ kind, source, destination, error, reason }: EarlyRefusal): void {
    this.#metrics.refused(kind, reason);
    this.#accessLog.failed({ source, destination, direction: kind === 'outbound' ? 'outbound' : 'inbound', error });
  }

  /** A session that ended before its first connection; its own destination is not known. */
  handshakeFailed({
    kind,
    source,
    flag,
    error,
  }: Pick<EarlyRefusal, 'kind' | 'source' | 'error'> & { readonly flag: ResponseFlag }): void {
    this.#metrics.refused(kind, flag);
    const direction = kind === 'outbound' ? 'outbound' : 'inbound';
    this.#accessLog.failed({ source, destination: undefined, direction, error });
  }

  /** A revocation list refused a peer. */
  peerRevoked(kind: ListenerKind): void {
    this.#metrics.peerRevoked(kind);
  }

  socketsOpen(kind: ListenerKind, delta: 1 | -1): void {
    this.#metrics.socketsOpen(kind, delta);
  }
}

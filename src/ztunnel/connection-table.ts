/**
 * Open connections: what telemetry has to say when they end, and what policy judges the inbound ones by.
 *
 * Invariants
 *  - An inbound connection is in the table from the moment policy let it pass until its end.
 *  - Bytes are counted once: reports while it is open and the total at its end add up to the total.
 */
import type { ConnectionId, ConnectionOutcome } from '../engine/index.ts';
import type { ConnectionRecord, PolicySubject } from './connection-record.ts';
import type { ConnectionCounters } from './telemetry/traffic-metrics.ts';
import type { TrafficTelemetry } from './telemetry/traffic-telemetry.ts';

interface OpenConnection {
  record: ConnectionRecord;
  readonly policy: PolicySubject | undefined;
  /** Undefined until the record is complete: double HBONE learns its destination from the answer. */
  counters: ConnectionCounters | undefined;
  readonly complete: CompleteRecord | undefined;
  received: number;
  sent: number;
}

/** Makes the final record from the headers of the answer. */
export type CompleteRecord = (headers: Readonly<Record<string, string>> | undefined) => ConnectionRecord;

export interface ConnectionStart {
  readonly record: ConnectionRecord;
  /** Those of connections with the same labels; made when absent. */
  readonly counters?: ConnectionCounters;
  readonly policy?: PolicySubject;
  readonly complete?: CompleteRecord;
}

export interface JudgedConnection {
  readonly id: ConnectionId;
  readonly policy: PolicySubject;
}

export class ConnectionTable {
  readonly #telemetry: TrafficTelemetry;
  readonly #open = new Map<ConnectionId, OpenConnection>();

  constructor(telemetry: TrafficTelemetry) {
    this.#telemetry = telemetry;
  }

  get size(): number {
    return this.#open.size;
  }

  /** The decision was given and is no refusal. */
  begin(id: ConnectionId, { record, policy, complete, counters }: ConnectionStart): void {
    const opened = complete ? undefined : this.#telemetry.open(record, counters);
    this.#open.set(id, { record, policy, complete, counters: opened, received: 0, sent: 0 });
  }

  /** The far end answered: what was missing in the record is known, and the connection counts as opened. */
  establish(id: ConnectionId, responseHeaders: Readonly<Record<string, string>>): void {
    const connection = this.#open.get(id);
    if (!connection?.complete || connection.counters) return;
    connection.record = connection.complete(responseHeaders);
    connection.counters = this.#telemetry.open(connection.record);
  }

  /** Bytes since the last report. */
  progress(id: ConnectionId, bytesReceived: number, bytesSent: number): void {
    const connection = this.#open.get(id);
    if (!connection?.counters) return;
    connection.received += bytesReceived;
    connection.sent += bytesSent;
    connection.counters.bytes(bytesReceived, bytesSent);
  }

  /** Unknown connections were refused, and are finished already. */
  end(id: ConnectionId, outcome: ConnectionOutcome): void {
    const connection = this.#open.get(id);
    if (!connection) return;
    this.#open.delete(id);
    const { counters: opened, complete } = connection;
    // what was opened is closed under the same labels
    const record = opened ? connection.record : (complete?.(outcome.responseHeaders) ?? connection.record);
    const counters = opened ?? this.#telemetry.open(record);
    counters.bytes(
      Math.max(0, outcome.bytesReceived - connection.received),
      Math.max(0, outcome.bytesSent - connection.sent),
    );
    this.#telemetry.close(record, counters, { ...outcome, error: outcome.error });
  }

  /** Inbound connections, for judging them again. */
  *judged(): Generator<JudgedConnection> {
    for (const [id, { policy }] of this.#open) if (policy) yield { id, policy };
  }

  /** Records of one owner's open connections. */
  *ofOwner(owner: string): Generator<ConnectionRecord> {
    for (const { record } of this.#open.values()) if (record.owner === owner) yield record;
  }
}

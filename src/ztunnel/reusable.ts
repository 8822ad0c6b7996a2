/**
 * Decisions that the engine may give again by itself, and what is noted of the connections that took one.
 *
 * Guarantees
 *  - What is offered is what would be decided for the next connection of the kind, as long as the mesh does not change.
 *  - A connection that took a decision from before a change is judged again before it is noted.
 *  - Log and metrics are those of a connection that was asked about.
 */
import type { HboneStream, PlainConnection, ReusableDecision } from '../engine/index.ts';
import type { ConnectionRecord, PolicySubject } from './connection-record.ts';
import type { ConnectionTable } from './connection-table.ts';
import { type DeciderDeps, judge, type Owner } from './decider.ts';
import { decideInboundHbone } from './inbound.ts';
import { decideInboundPlain } from './inbound-plaintext.ts';
import { outboundCandidates } from './outbound.ts';
import type { Owners } from './owners.ts';
import { POLICY_CHANGE } from './policy-watch.ts';
import type { ConnectionCounters } from './telemetry/traffic-metrics.ts';
import type { TrafficTelemetry } from './telemetry/traffic-telemetry.ts';

export interface ReusableDeps extends DeciderDeps {
  readonly owners: Pick<Owners, 'find'>;
  readonly table: ConnectionTable;
  readonly telemetry: TrafficTelemetry;
}

/** A record that connections share but for the client's port, with its counters. */
interface Noted {
  readonly record: ConnectionRecord;
  readonly counters: ConnectionCounters;
}

/** What the engine hands back. */
interface Token {
  readonly policy: PolicySubject | undefined;
  /** Streams say different things of their origin in their headers; by those. Others have one entry. */
  readonly noted: Map<string, Noted>;
}

/** Clients of one identity and address that describe themselves differently: few, unless one makes it up. */
const NOTED_MAX = 64;

export class ReusableDecisions {
  readonly #deps: ReusableDeps;

  constructor(deps: ReusableDeps) {
    this.#deps = deps;
  }

  /** Undefined when each connection has to be decided by itself. */
  offer(connection: PlainConnection | HboneStream): ReusableDecision | undefined {
    const owner = this.#deps.demanded ? undefined : this.#deps.owners.find(connection.owner);
    if (!owner) return undefined;
    if (connection.kind !== 'outbound') return this.#offerInbound(connection, owner);
    const candidates = outboundCandidates(this.#deps, connection, owner)?.map(({ weight, decision, record }) => ({
      weight,
      decision,
      token: this.#token('', record, undefined),
    }));
    return candidates && { candidates };
  }

  /** Notes a connection that took a decision; a text says why it is forbidden by now. */
  take(connection: PlainConnection | HboneStream, handedBack: unknown, isCurrent: boolean): string | undefined {
    const { table, owners } = this.#deps;
    const { policy, noted } = handedBack as Token; // what offer() gave
    const { record, counters } = this.#note(connection, { policy, noted });
    table.begin(connection.id, {
      record: withSource(record, connection),
      counters,
      ...(policy === undefined ? {} : { policy }),
    });
    if (isCurrent || !policy) return undefined;
    const workload = owners.find(connection.owner)?.workload ?? policy.workload;
    return judge(this.#deps, workload, policy.facts) === undefined ? undefined : POLICY_CHANGE;
  }

  #offerInbound(connection: PlainConnection | HboneStream, owner: Owner): ReusableDecision | undefined {
    const decided =
      connection.kind === 'inbound-hbone'
        ? decideInboundHbone(this.#deps, connection, owner)
        : decideInboundPlain(this.#deps, connection, owner);
    if (decided.kind !== 'accepted') return undefined;
    const { decision, start } = decided;
    const token = this.#token(headersOf(connection), start.record, start.policy);
    return { candidates: [{ weight: 1, decision, token }] };
  }

  #token(key: string, record: ConnectionRecord, policy: PolicySubject | undefined): Token {
    return { policy, noted: new Map([[key, { record, counters: this.#deps.telemetry.counters(record) }]]) };
  }

  #note(connection: PlainConnection | HboneStream, { noted }: Token): Noted {
    const key = connection.kind === 'outbound' ? '' : headersOf(connection);
    const known = noted.get(key);
    if (known) return known;
    const made = this.#describe(connection) ?? [...noted.values()][0];
    if (!made) throw new Error('a decision without a record was taken');
    if (noted.size < NOTED_MAX) noted.set(key, made);
    return made;
  }

  /** The record as if the stream had been asked about. */
  #describe(connection: PlainConnection | HboneStream): Noted | undefined {
    const owner = this.#deps.owners.find(connection.owner);
    if (!owner || connection.kind !== 'inbound-hbone') return undefined;
    const decided = decideInboundHbone(this.#deps, connection, owner);
    if (decided.kind === 'refused') return undefined;
    const record = decided.kind === 'denied' ? decided.record : decided.start.record;
    return { record, counters: this.#deps.telemetry.counters(record) };
  }
}

function withSource(record: ConnectionRecord, { source }: PlainConnection | HboneStream): ConnectionRecord {
  if (record.source.address.port === source.port) return record;
  return { ...record, source: { ...record.source, address: source } };
}

/** What of a stream's headers the record rests upon. */
function headersOf(connection: PlainConnection | HboneStream): string {
  if (connection.kind !== 'inbound-hbone') return '';
  const { baggage = [], forwarded = [], 'x-forwarded-network': network = [] } = connection.headers;
  // who it is forwarded for differs from stream to stream, and is not read
  const hosts = forwarded.map((line) => line.slice(line.indexOf(';') + 1));
  return JSON.stringify([baggage, hosts.some((host) => host.includes('host=')) ? hosts : [], network]);
}

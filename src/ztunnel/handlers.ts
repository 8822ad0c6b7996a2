/**
 * What the engine asks and tells, put together from the deciders, the connection table and the certificates.
 *
 * Guarantees
 *  - The workload a connection belongs to is told by the listener that accepted it, never by an address.
 *  - A decision and the entry of its connection in the table are one step: a policy change in between is not lost.
 */

import { errorMessage, MeshError } from '../core/errors.ts';
import type {
  ConnectionId,
  ConnectionOutcome,
  EngineHandlers,
  HandshakeFailure,
  HboneStream,
  InboundDecision,
  ListenerKind,
  OutboundDecision,
  PlainConnection,
  ReusableDecision,
  TlsCredentials,
} from '../engine/index.ts';
import type { Identity } from '../model/identity.ts';
import type { Workload } from '../model/workload.ts';
import type { ConnectionTable } from './connection-table.ts';
import type { Decided, DeciderDeps, Owner } from './decider.ts';
import { decideInboundHbone, learnInboundHbone } from './inbound.ts';
import { decideInboundPlain } from './inbound-plaintext.ts';
import { decideOutbound } from './outbound.ts';
import type { Owners } from './owners.ts';
import { ReusableDecisions } from './reusable.ts';
import type { TrafficTelemetry } from './telemetry/traffic-telemetry.ts';

export interface HandlersDeps extends DeciderDeps {
  readonly owners: Pick<Owners, 'resolve' | 'identity' | 'find'>;
  readonly table: ConnectionTable;
  readonly telemetry: TrafficTelemetry;
  /** The workload as inbound connections are judged by it: its policies are known, or were waited for. */
  readonly settlePolicies: (workload: Workload, signal: AbortSignal) => Promise<Workload>;
  /** A valid certificate of a local identity; rejects with ERR_IDENTITY. */
  readonly credentials: (identity: Identity, signal: AbortSignal) => Promise<TlsCredentials>;
}

export class TunnelHandlers implements EngineHandlers {
  readonly #deps: HandlersDeps;
  readonly #reusable: ReusableDecisions;

  constructor(deps: HandlersDeps) {
    this.#deps = deps;
    this.#reusable = new ReusableDecisions(deps);
  }

  async decideOutbound(connection: PlainConnection, signal: AbortSignal): Promise<OutboundDecision> {
    const owner = await this.#findOwner(connection.owner, signal);
    return this.#settle(connection, await decideOutbound(this.#deps, { connection, signal }, owner));
  }

  async decideInboundPlain(connection: PlainConnection, signal: AbortSignal): Promise<InboundDecision> {
    const owner = await this.#findJudgedOwner(connection.owner, signal);
    await this.#deps.demanded?.label(this.#deps.config.network, connection.source.ip, signal);
    return this.#settle(connection, decideInboundPlain(this.#deps, connection, owner));
  }

  async decideInboundHbone(stream: HboneStream, signal: AbortSignal): Promise<InboundDecision> {
    const owner = await this.#findJudgedOwner(stream.owner, signal);
    try {
      if (!(owner instanceof Error)) await learnInboundHbone(this.#deps, { stream, signal }, owner);
    } catch (error) {
      const refusal = { status: 503, destination: stream.localAddress, reason: 'DISCOVERY' };
      return this.#settle(stream, { kind: 'refused', error: errorMessage(error), ...refusal });
    }
    return this.#settle(stream, decideInboundHbone(this.#deps, stream, owner));
  }

  reusable(connection: PlainConnection | HboneStream): ReusableDecision | undefined {
    return this.#reusable.offer(connection);
  }

  reused(connection: PlainConnection | HboneStream, token: unknown, isCurrent: boolean): string | undefined {
    return this.#reusable.take(connection, token, isCurrent);
  }

  async serverIdentity(owner: string, signal: AbortSignal): Promise<Identity> {
    return this.#deps.owners.identity(owner, signal);
  }

  credentials(identity: Identity, signal: AbortSignal): Promise<TlsCredentials> {
    return this.#deps.credentials(identity, signal);
  }

  /** Nothing to do: the table has known the connection since its decision. */
  opened(_id: ConnectionId): void {}

  established(id: ConnectionId, responseHeaders: Readonly<Record<string, string>>): void {
    this.#deps.table.establish(id, responseHeaders);
  }

  progress(id: ConnectionId, bytesReceived: number, bytesSent: number): void {
    this.#deps.table.progress(id, bytesReceived, bytesSent);
  }

  closed(id: ConnectionId, outcome: ConnectionOutcome): void {
    this.#deps.table.end(id, outcome);
  }

  handshakeFailed({ kind, source, flag, error }: HandshakeFailure): void {
    this.#deps.telemetry.handshakeFailed({ kind, source, flag, error });
  }

  peerRevoked(kind: ListenerKind): void {
    this.#deps.telemetry.peerRevoked(kind);
  }

  socketsOpen(kind: ListenerKind, delta: 1 | -1): void {
    this.#deps.telemetry.socketsOpen(kind, delta);
  }

  async #findJudgedOwner(name: string, signal: AbortSignal): Promise<Owner | MeshError> {
    const owner = await this.#findOwner(name, signal);
    if (owner instanceof Error) return owner;
    return { ...owner, workload: await this.#deps.settlePolicies(owner.workload, signal) };
  }

  async #findOwner(owner: string, signal: AbortSignal): Promise<Owner | MeshError> {
    try {
      return await this.#deps.owners.resolve(owner, signal);
    } catch (error) {
      return error instanceof MeshError ? error : new MeshError('ERR_NOT_FOUND', errorMessage(error), { cause: error });
    }
  }

  /** Not async: between the verdict of policy and this step nothing else may run. */
  #settle<D extends OutboundDecision>(
    {
      id,
      kind,
      source,
    }: { readonly id: ConnectionId; readonly kind: ListenerKind; readonly source: PlainConnection['source'] },
    decided: Decided<D>,
  ): D | Extract<InboundDecision, { action: 'refuse' }> {
    const { table, telemetry } = this.#deps;
    switch (decided.kind) {
      case 'refused': {
        const { destination, error, reason, status } = decided;
        telemetry.refuse({ kind, source, destination, error, reason });
        return { action: 'refuse', reason: error, status };
      }
      case 'denied':
        telemetry.deny(decided.record, decided.error);
        return { action: 'refuse', reason: decided.error, status: 401 };
      case 'accepted':
        table.begin(id, decided.start);
        return decided.decision;
    }
  }
}

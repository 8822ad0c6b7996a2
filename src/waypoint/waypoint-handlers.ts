/**
 * What the engine asks of a waypoint: which tunnels it takes, and with which certificate.
 *
 * Guarantees
 *  - Only what is bound here is accepted; an authority that is not known yet gets a short while to become so.
 *  - The client is who its certificate says; headers say nothing about it.
 */
import type { Duplex } from 'node:stream';
import type { Logger } from '../core/logger.ts';
import type {
  ConnectionId,
  EngineHandlers,
  HandshakeFailure,
  HboneStream,
  InboundHboneDecision,
  OutboundDecision,
  TlsCredentials,
} from '../engine/index.ts';
import { type Identity, identityPrincipal } from '../model/identity.ts';
import { findTarget, parseAuthority } from './listener/target.ts';
import type { TunnelContext } from './listener/tunnel-context.ts';
import type { WaypointState } from './state/waypoint-state.ts';

export interface WaypointHandlersDeps {
  readonly state: WaypointState;
  readonly identity: Identity;
  readonly credentials: (identity: Identity, signal: AbortSignal) => Promise<TlsCredentials>;
  /** Takes the bytes of an accepted tunnel. */
  readonly serve: (bytes: Duplex, context: TunnelContext) => void;
  readonly log: Logger;
  readonly onHandshakeFailure: (failure: HandshakeFailure) => void;
  /** Refusals by reason. */
  readonly onRefusal: (reason: 'malformed' | 'unknown' | 'method') => void;
}

/** Node tunnels may hear of a service a moment before its waypoint does. */
const UNKNOWN_WAIT_MS = 1_000;
const NOT_FOUND: InboundHboneDecision = {
  action: 'refuse',
  status: 404,
  reason: 'nothing of that address is bound here',
};
const UNPLANNED: OutboundDecision = { action: 'refuse', status: 503, reason: 'a waypoint accepts tunnels only' };

export class WaypointHandlers implements EngineHandlers {
  readonly #deps: WaypointHandlersDeps;
  readonly #contexts = new Map<ConnectionId, TunnelContext>();

  constructor(deps: WaypointHandlersDeps) {
    this.#deps = deps;
  }

  async decideInboundHbone(stream: HboneStream, signal: AbortSignal): Promise<InboundHboneDecision> {
    const { state, onRefusal } = this.#deps;
    if (stream.method !== 'CONNECT') {
      onRefusal('method');
      return { action: 'refuse', status: 400, reason: 'not a CONNECT' };
    }
    const authority = parseAuthority(stream.authority);
    if (!authority) {
      onRefusal('malformed');
      return { action: 'refuse', status: 400, reason: 'no valid authority' };
    }
    let target = findTarget(state, authority);
    if (!target) {
      await state.changed(UNKNOWN_WAIT_MS);
      if (!signal.aborted) target = findTarget(state, authority);
    }
    if (!target) {
      onRefusal('unknown');
      return NOT_FOUND;
    }
    const { peerIdentity, source } = stream;
    this.#contexts.set(stream.id, {
      target,
      client: {
        identity: peerIdentity,
        principal: identityPrincipal(peerIdentity),
        ip: source.ip,
        port: source.port,
        destinationIp: authority.host,
        destinationPort: authority.port,
      },
    });
    return { action: 'terminate' };
  }

  terminated(id: ConnectionId, bytes: Duplex): void {
    const context = this.#contexts.get(id);
    if (context) this.#deps.serve(bytes, context);
    else bytes.destroy();
  }

  closed(id: ConnectionId): void {
    this.#contexts.delete(id);
  }

  async decideOutbound(): Promise<OutboundDecision> {
    return UNPLANNED;
  }

  async decideInboundPlain() {
    return { action: 'refuse', status: 503, reason: 'a waypoint accepts tunnels only' } as const;
  }

  async serverIdentity(): Promise<Identity> {
    return this.#deps.identity;
  }

  credentials(identity: Identity, signal: AbortSignal): Promise<TlsCredentials> {
    return this.#deps.credentials(identity, signal);
  }

  handshakeFailed(failure: HandshakeFailure): void {
    const { source, flag, error } = failure;
    this.#deps.log.debug('tunnel refused', { source: source.ip, flag, error });
    this.#deps.onHandshakeFailure(failure);
  }

  opened(): void {}

  progress(): void {}

  socketsOpen(): void {}
}

/** The inbound sessions of an engine, for GOAWAY when an owner or the whole engine drains. */
import type { ConnectionId, ResponseFlag } from './port.ts';

export interface OpenSession {
  /** Connections that this session's streams carry now. */
  readonly connections: Set<ConnectionId>;
  cut(flag: ResponseFlag, error: string): void;
}

/** A session that a peer opened; a `ServerHttp2Session` is one. */
export interface InboundSession {
  on(event: 'error', listener: () => void): unknown;
  once(event: 'close', listener: () => void): unknown;
  close(): void;
  destroy(): void;
}

/** The connections that streams of the sessions carry. */
export interface CuttableConnections {
  find(id: ConnectionId): { cut(flag: ResponseFlag, error: string): void } | undefined;
}

export class SessionSet {
  readonly #connections: CuttableConnections;
  readonly #sessions = new Map<InboundSession, string>();

  constructor(connections: CuttableConnections) {
    this.#connections = connections;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Until the session closes. */
  add(owner: string, session: InboundSession): OpenSession {
    const connections = new Set<ConnectionId>();
    this.#sessions.set(session, owner);
    session.on('error', () => {});
    session.once('close', () => this.#sessions.delete(session));
    return {
      connections,
      cut: (flag, error) => {
        for (const id of connections) this.#connections.find(id)?.cut(flag, error);
      },
    };
  }

  /** Graceful GOAWAY to the peers of `owner` (undefined: of everybody). Their open streams go on. */
  goAway(owner: string | undefined): void {
    for (const [session, of] of this.#sessions) if (owner === undefined || of === owner) session.close();
  }

  destroy(owner: string | undefined): void {
    for (const [session, of] of [...this.#sessions]) if (owner === undefined || of === owner) session.destroy();
  }
}

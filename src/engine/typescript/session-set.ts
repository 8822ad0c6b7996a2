/** The inbound sessions of an engine, for GOAWAY when an owner or the whole engine drains. */
import type { ServerHttp2Session } from 'node:http2';
import type { ConnectionId, ResponseFlag } from '../port.ts';
import type { ConnectionSet } from './connection-set.ts';

export interface OpenSession {
  /** Connections that this session's streams carry now. */
  readonly connections: Set<ConnectionId>;
  cut(flag: ResponseFlag, error: string): void;
}

export class SessionSet {
  readonly #connections: ConnectionSet;
  readonly #sessions = new Map<ServerHttp2Session, string>();

  constructor(connections: ConnectionSet) {
    this.#connections = connections;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Until the session closes. */
  add(owner: string, session: ServerHttp2Session): OpenSession {
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

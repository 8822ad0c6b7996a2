/** Connections between two pods of this node: both sides are asked as ever, and joined on a thread without a session. */
import { STATUS_CODES } from 'node:http';
import { MeshError } from '../../core/errors.ts';
import type { ConnectionSet } from '../connection-set.ts';
import { toFailure } from '../failure.ts';
import { type LocalPeers, localStream } from '../local-peers.ts';
import type { OwnerScope } from '../owner-scope.ts';
import type { EngineHandlers, ForwardLocal, ForwardPlain } from '../port.ts';
import type { EngineThreads } from './engine-threads.ts';
import { NativeConnection } from './native-connection.ts';
import type { OwnerPool } from './owner-pool.ts';
import { endConnection } from './stream-outcome.ts';
import type { AcceptedConnection, StreamEnded } from './thread-events.ts';

export interface LocalJoinsDeps {
  readonly handlers: EngineHandlers;
  readonly threads: EngineThreads;
  readonly connections: ConnectionSet<NativeConnection>;
  readonly localPeers: LocalPeers;
  readonly findScope: (owner: string) => OwnerScope<OwnerPool> | undefined;
}

interface Carried {
  readonly connection: NativeConnection;
  readonly accepted: AcceptedConnection;
  readonly ending: Promise<StreamEnded>;
}

export class LocalJoins {
  readonly #deps: LocalJoinsDeps;

  constructor(deps: LocalJoinsDeps) {
    this.#deps = deps;
  }

  /** Carries the connection to its end. Rejects when there is no other end for it. */
  async carry(decision: ForwardLocal, carried: Carried): Promise<void> {
    const { threads, findScope, localPeers, connections, handlers } = this.#deps;
    const { connection, accepted, ending } = carried;
    const { id: clientId, thread } = accepted;
    const scope = findScope(decision.to);
    if (!scope) throw new MeshError('ERR_DIAL', 'the pod at the other end is gone');
    const checks = await localPeers.verify(decision, { source: accepted.remote, signal: connection.signal });
    const id = threads.nextId();
    const cut = (): void => threads.cut(thread, clientId);
    const inbound = new NativeConnection({ id, owner: decision.to, cut }, handlers);
    const unwatch = localPeers.watch(checks, [inbound, connection]);
    try {
      await connections.run(inbound, async () => {
        const forward = await this.#ask(decision, inbound, carried);
        const end = threads.ending(id);
        threads.onEstablished(clientId, (headers) => connection.established(headers));
        threads.joinLocal(thread, clientId, { twin: id, owner: scope.pool.handle }, forward);
        endConnection(inbound, { ...(await end), headers: undefined, session: undefined });
      });
      endConnection(connection, await ending);
    } finally {
      unwatch();
    }
  }

  /** Ends the inbound connection, and rejects with what a peer would have answered, when it is refused. */
  async #ask(
    decision: ForwardLocal,
    inbound: NativeConnection,
    { connection, accepted: { remote: source } }: Carried,
  ): Promise<ForwardPlain> {
    let status = 503;
    try {
      const facts = localStream(inbound.id, decision, { source });
      const answer = await this.#deps.handlers.decideInboundHbone(facts, connection.signal);
      if (answer.action === 'forward') {
        inbound.opened();
        return answer;
      }
      if (answer.action === 'refuse') status = answer.status;
      inbound.end('-', { error: answer.action === 'refuse' ? answer.reason : 'a pod of this node is not terminated' });
    } catch (error) {
      const { flag, error: text } = toFailure(error);
      inbound.end(flag, { error: text });
    }
    throw new MeshError('ERR_HBONE_STATUS', `http status: ${status} ${STATUS_CODES[status] ?? ''}`.trimEnd());
  }
}

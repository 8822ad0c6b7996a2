/** Tunnels inside tunnels: a session of its own inside a stream of a pooled one, for one connection. */
import { MeshError } from '../../core/errors.ts';
import type { OwnerScope } from '../owner-scope.ts';
import type { EngineHandlers, EngineOptions, ForwardDoubleHbone } from '../port.ts';
import type { EngineThreads } from './engine-threads.ts';
import type { NativeConnection } from './native-connection.ts';
import { NativeSession } from './native-session.ts';
import type { OwnerPool } from './owner-pool.ts';
import type { PeerVerdicts } from './peer-verdicts.ts';
import { endConnection, toError } from './stream-outcome.ts';
import type { StreamEnded } from './thread-events.ts';

export interface NestedTunnelsDeps {
  readonly handlers: Pick<EngineHandlers, 'credentials' | 'peerRevoked'>;
  readonly options: EngineOptions;
  readonly threads: EngineThreads;
  readonly verdicts: PeerVerdicts;
}

interface Carried {
  readonly connection: NativeConnection;
  readonly thread: number;
  readonly ending: Promise<StreamEnded>;
}

export class NestedTunnels {
  readonly #deps: NestedTunnelsDeps;

  constructor(deps: NestedTunnelsDeps) {
    this.#deps = deps;
  }

  /** Carries the connection to its end. Rejects before there was an inner stream for it. */
  async carry(scope: OwnerScope<OwnerPool>, decision: ForwardDoubleHbone, carried: Carried): Promise<void> {
    const { threads } = this.#deps;
    const { connection, thread, ending } = carried;
    const { signal } = connection;
    const outer = threads.nextId();
    const cutOuter = (): void => threads.cut(thread, outer);
    const established = new Promise<undefined>((resolve) => threads.onEstablished(outer, () => resolve(undefined)));
    const outerEnd = threads.ending(outer);
    threads.park(thread, outer, scope.pool.handle, decision);
    signal.addEventListener('abort', cutOuter, { once: true });
    if (signal.aborted) cutOuter();
    try {
      const failed = await Promise.race([established, outerEnd]);
      if (failed) throw toError(failed, decision.session) ?? new MeshError('ERR_ABORTED', 'the outer stream ended');
      const inner = await this.#openInner(thread, outer, decision);
      threads.onEstablished(connection.id, (headers) => connection.established(headers));
      threads.goOver(thread, connection.id, inner.id, decision.innerConnect);
      const end = await ending;
      inner.close();
      const outerSession = (await Promise.race([outerEnd, Promise.resolve(undefined)]))?.session;
      endConnection(connection, { ...end, session: outerSession ?? end.session });
    } catch (error) {
      cutOuter();
      throw error;
    } finally {
      signal.removeEventListener('abort', cutOuter);
    }
  }

  async #openInner(
    thread: number,
    carrier: number,
    { session: { identity }, innerExpectedIdentities }: ForwardDoubleHbone,
  ): Promise<NativeSession> {
    const { threads, verdicts } = this.#deps;
    const presented = await verdicts.credentials(identity);
    const session = new NativeSession(threads, thread, threads.nextId());
    threads.openInnerSession(thread, session.id, carrier, presented.context);
    await verdicts.judgeServer(session, presented.credentials, innerExpectedIdentities);
    await session.settled;
    return session;
  }
}

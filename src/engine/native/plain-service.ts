/** Captured connections of one pod: asks what to do with what the threads accepted, and has it carried out. */
import { MeshError } from '../../core/errors.ts';
import type { ConnectionSet } from '../connection-set.ts';
import { toFailure } from '../failure.ts';
import type { OwnerScope } from '../owner-scope.ts';
import type {
  EngineHandlers,
  EngineListener,
  EngineOptions,
  ListenerOptions,
  OutboundDecision,
  PlainConnection,
} from '../port.ts';
import type { EngineThreads } from './engine-threads.ts';
import type { LocalJoins } from './local-joins.ts';
import { NativeConnection } from './native-connection.ts';
import { openNativeListener } from './native-listener.ts';
import type { NestedTunnels } from './nested-tunnels.ts';
import type { OwnerPool } from './owner-pool.ts';
import { endConnection } from './stream-outcome.ts';
import type { AcceptedConnection, StreamEnded, TakenDecision } from './thread-events.ts';

/** Plain connections are closed, whatever the status. */
const CLOSED = 0;

export interface PlainServiceDeps {
  readonly handlers: EngineHandlers;
  readonly options: EngineOptions;
  readonly threads: EngineThreads;
  readonly nested: NestedTunnels;
  readonly localJoins: LocalJoins;
  readonly connections: ConnectionSet<NativeConnection>;
}

type Scope = OwnerScope<OwnerPool>;

export function listenPlain(deps: PlainServiceDeps, scope: Scope, options: ListenerOptions): EngineListener {
  const { handlers, threads, connections } = deps;
  const kind = options.kind === 'outbound' ? 'outbound' : 'inbound-plaintext';
  return openNativeListener(deps, { scope, listen: options }, (accepted, taken) => {
    const { id, thread } = accepted;
    handlers.socketsOpen(kind, 1);
    const cut = (): void => threads.cut(thread, id);
    const connection = new NativeConnection({ id, owner: scope.name, cut }, handlers);
    const served: Served = { connection, accepted, kind };
    void connections
      .run(connection, () => (taken ? followPlain(deps, served, taken) : servePlain(deps, scope, served)))
      .finally(() => handlers.socketsOpen(kind, -1));
  });
}

interface Served {
  readonly connection: NativeConnection;
  readonly accepted: AcceptedConnection;
  readonly kind: PlainConnection['kind'];
}

function factsOf({ connection, accepted, kind }: Served): PlainConnection {
  const { id, remote: source, local, originalDestination = local } = accepted;
  return { id, owner: connection.owner, kind, source, originalDestination };
}

/** A thread has given a remembered decision and goes on by itself. */
async function followPlain(
  { handlers, threads }: PlainServiceDeps,
  served: Served,
  taken: TakenDecision,
): Promise<void> {
  const { connection } = served;
  const { id } = connection;
  const ending = threads.ending(id);
  const error = handlers.reused?.(factsOf(served), taken.token, taken.isCurrent);
  connection.opened();
  if (error === undefined) threads.onEstablished(id, (headers) => connection.established(headers));
  else connection.cut('DENY', error);
  endConnection(connection, await ending);
}

/** Never rejects: what goes wrong is told by the connection's end. */
async function servePlain(deps: PlainServiceDeps, scope: Scope, served: Served): Promise<void> {
  const { handlers, threads } = deps;
  const { connection, kind } = served;
  const { id, thread } = served.accepted;
  const facts = factsOf(served);
  const ending = threads.ending(id);
  void ending.then(() => connection.abort());
  try {
    const decision =
      kind === 'outbound'
        ? await handlers.decideOutbound(facts, connection.signal)
        : await handlers.decideInboundPlain(facts, connection.signal);
    if (decision.action === 'refuse') {
      threads.dismiss(thread, id, CLOSED);
      connection.end('-', { error: decision.reason });
      return;
    }
    if (connection.isCut) throw new MeshError('ERR_ABORTED', 'the connection was cut');
    connection.opened();
    const reusable = handlers.reusable?.(facts);
    if (reusable) threads.remember(thread, id, reusable);
    await carryOut(deps, scope, { ...served, decision, ending });
  } catch (error) {
    threads.dismiss(thread, id, CLOSED);
    const { flag, error: text } = toFailure(error);
    connection.end(flag, { error: text });
  }
}

async function carryOut(
  { threads, nested, localJoins }: PlainServiceDeps,
  scope: Scope,
  {
    connection,
    accepted,
    decision,
    ending,
  }: Served & {
    readonly decision: Exclude<OutboundDecision, { action: 'refuse' }>;
    readonly ending: Promise<StreamEnded>;
  },
): Promise<void> {
  const { id, thread } = accepted;
  switch (decision.action) {
    case 'forward':
      threads.forward(thread, id, decision);
      endConnection(connection, await ending);
      return;
    case 'hbone':
      threads.onEstablished(id, (headers) => connection.established(headers));
      threads.tunnel(thread, id, decision.session, decision.connect);
      endConnection(connection, await ending, decision.session);
      return;
    case 'local':
      await localJoins.carry(decision, { connection, accepted, ending });
      return;
    case 'double-hbone':
      await nested.carry(scope, decision, { connection, thread, ending });
  }
}

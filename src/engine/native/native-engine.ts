/**
 * The engine whose bytes never enter JavaScript: native threads encrypt, frame, copy and count; here is asked, dialled
 * and told. See `../port.ts` for the promises.
 */
import { MeshError } from '../../core/errors.ts';
import type { Identity } from '../../model/identity.ts';
import { RevocationLists } from '../../pki/index.ts';
import type {
  ConnectionId,
  Engine,
  EngineHandlers,
  EngineListener,
  EngineOptions,
  EngineStats,
  ListenerOptions,
  ResponseFlag,
} from '../port.ts';
import { Dialer } from '../typescript/dialer.ts';
import { OwnerScope } from '../typescript/owner-scope.ts';
import { PeerWatch } from '../typescript/peer-watch.ts';
import { SessionSet } from '../typescript/session-set.ts';
import { loadAddon } from './addon.ts';
import { ConnectionTable } from './connection-table.ts';
import { EngineThreads } from './engine-threads.ts';
import { type HboneServiceDeps, listenHbone } from './hbone-service.ts';
import type { NativeSession } from './native-session.ts';
import { listenPlain, type PlainServiceDeps } from './plain-service.ts';
import { TlsContexts } from './tls-contexts.ts';
import { TunnelDial } from './tunnel-dial.ts';

export interface NativeEngineOptions extends EngineOptions {
  /** Threads that move bytes; 1 when absent. */
  readonly threads?: number;
}

export class NativeEngine implements Engine {
  readonly #options: EngineOptions;
  readonly #threads: EngineThreads;
  readonly #connections: ConnectionTable;
  readonly #sessions: SessionSet;
  readonly #peers: PeerWatch;
  readonly #deps: PlainServiceDeps & HboneServiceDeps;
  readonly #scopes = new Map<string, OwnerScope<NativeSession>>();
  #draining = false;

  /** Throws ERR_UNSUPPORTED when the add-on cannot be used. */
  constructor(handlers: EngineHandlers, options: NativeEngineOptions) {
    const addon = loadAddon();
    this.#options = options;
    this.#connections = new ConnectionTable(handlers);
    this.#sessions = new SessionSet(this.#connections);
    this.#peers = new PeerWatch(options.revocations ?? (() => RevocationLists.none));
    this.#threads = new EngineThreads(addon, options.threads ?? 1, options, (id, received, sent) => {
      if (this.#connections.find(id)) handlers.progress(id, received, sent);
    });
    const shared = {
      handlers,
      options,
      threads: this.#threads,
      dialer: new Dialer(options),
      contexts: new TlsContexts(addon),
      peers: this.#peers,
      connections: this.#connections,
      sessions: this.#sessions,
    };
    this.#deps = { ...shared, tunnels: new TunnelDial(shared) };
  }

  async listen(options: ListenerOptions): Promise<EngineListener> {
    if (this.#draining) throw new MeshError('ERR_ABORTED', 'the engine is draining');
    let scope = this.#scopes.get(options.owner);
    if (!scope) {
      scope = new OwnerScope<NativeSession>(options.owner, options.netns, this.#options);
      this.#scopes.set(options.owner, scope);
    }
    return options.kind === 'inbound-hbone'
      ? listenHbone(this.#deps, scope, options)
      : listenPlain(this.#deps, scope, options);
  }

  cut(id: ConnectionId, flag: ResponseFlag, error: string): void {
    this.#connections.find(id)?.cut(flag, error);
  }

  /** Nothing to forget: contexts are kept by certificate version. */
  credentialsChanged(_identity: Identity): void {}

  recheckPeers(): void {
    this.#peers.recheck();
  }

  async drain(owner: string, deadlineMs: number): Promise<void> {
    const scope = this.#scopes.get(owner);
    if (!scope) return;
    this.#scopes.delete(owner);
    await this.#drainScope(scope, deadlineMs);
  }

  async drainAll(deadlineMs: number): Promise<void> {
    this.#draining = true;
    const scopes = [...this.#scopes.values()];
    this.#scopes.clear();
    await Promise.all(scopes.map((scope) => this.#drainScope(scope, deadlineMs)));
    await this.#connections.drain(undefined, deadlineMs);
    this.#sessions.destroy(undefined);
  }

  stats(): EngineStats {
    let sessions = this.#sessions.size;
    for (const { pool } of this.#scopes.values()) sessions += pool.size;
    return { connections: this.#connections.size, sessions, bufferedBytes: this.#threads.bufferedBytes };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drainAll(0);
    this.#threads.stop();
  }

  async #drainScope(scope: OwnerScope<NativeSession>, deadlineMs: number): Promise<void> {
    await scope.close();
    this.#sessions.goAway(scope.name);
    await this.#connections.drain(scope.name, deadlineMs);
    // an owner that came back under the same name meanwhile has sessions of its own
    if (!this.#scopes.has(scope.name)) this.#sessions.destroy(scope.name);
    scope.release();
  }
}

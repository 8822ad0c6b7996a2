/**
 * The engine in TypeScript, on `node:http2`, `node:tls` and `node:net`: the reference for what every engine does.
 * See `../port.ts` for the promises.
 */
import { MeshError } from '../../core/errors.ts';
import { TlsContextCache } from '../../hbone/index.ts';
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
import { ConnectionSet } from './connection-set.ts';
import { Dialer } from './dialer.ts';
import { HboneDial } from './hbone-dial.ts';
import { listenHbone } from './hbone-listener.ts';
import { OwnerScope } from './owner-scope.ts';
import { PeerWatch } from './peer-watch.ts';
import { listenPlain } from './plain-listener.ts';
import { SessionSet } from './session-set.ts';

export class TypescriptEngine implements Engine {
  readonly #handlers: EngineHandlers;
  readonly #options: EngineOptions;
  readonly #dialer: Dialer;
  readonly #hbone: HboneDial;
  readonly #peers: PeerWatch;
  readonly #connections: ConnectionSet;
  readonly #sessions: SessionSet;
  readonly #scopes = new Map<string, OwnerScope>();
  #draining = false;

  constructor(handlers: EngineHandlers, options: EngineOptions) {
    this.#handlers = handlers;
    this.#options = options;
    this.#dialer = new Dialer(options);
    this.#peers = new PeerWatch(options.revocations ?? (() => RevocationLists.none));
    this.#hbone = new HboneDial({
      handlers,
      options,
      dialer: this.#dialer,
      contexts: new TlsContextCache(),
      peers: this.#peers,
    });
    this.#connections = new ConnectionSet(handlers);
    this.#sessions = new SessionSet(this.#connections);
  }

  async listen(options: ListenerOptions): Promise<EngineListener> {
    if (this.#draining) throw new MeshError('ERR_ABORTED', 'the engine is draining');
    let scope = this.#scopes.get(options.owner);
    if (!scope) {
      scope = new OwnerScope(options.owner, options.netns, this.#options);
      this.#scopes.set(options.owner, scope);
    }
    const deps = {
      handlers: this.#handlers,
      options: this.#options,
      dialer: this.#dialer,
      hbone: this.#hbone,
      connections: this.#connections,
      sessions: this.#sessions,
      peers: this.#peers,
    };
    return options.kind === 'inbound-hbone' ? listenHbone(deps, scope, options) : listenPlain(deps, scope, options);
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
    return { connections: this.#connections.size, sessions, bufferedBytes: this.#connections.bufferedBytes };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drainAll(0);
    this.#connections[Symbol.dispose]();
  }

  async #drainScope(scope: OwnerScope, deadlineMs: number): Promise<void> {
    await scope.close();
    this.#sessions.goAway(scope.name);
    await this.#connections.drain(scope.name, deadlineMs);
    // an owner that came back under the same name meanwhile has sessions of its own
    if (!this.#scopes.has(scope.name)) this.#sessions.destroy(scope.name);
    scope.release();
  }
}

/**
 * What every engine does alike: keeps scopes by owner, connections and sessions, and drains them in order. How bytes are
 * moved is the engine's own.
 *
 * Invariants
 *  - A drained owner's listeners are closed before its sessions hear GOAWAY; what was accepted before is still served; its
 *    scope goes when its connections have.
 *  - After drainAll() nothing listens any more.
 */
import type { Netns } from 'culvert-netns';
import { MeshError } from '../core/errors.ts';
import type { Identity } from '../model/identity.ts';
import { RevocationLists } from '../pki/index.ts';
import { ConnectionSet, type OpenConnection } from './connection-set.ts';
import { OwnerScope, type ScopePool } from './owner-scope.ts';
import { PeerWatch } from './peer-watch.ts';
import type {
  ConnectionId,
  Engine,
  EngineListener,
  EngineName,
  EngineOptions,
  EngineStats,
  ListenerOptions,
  ResponseFlag,
} from './port.ts';
import { SessionSet } from './session-set.ts';

export abstract class ScopedEngine<P extends ScopePool, C extends OpenConnection> implements Engine {
  abstract readonly name: EngineName;
  protected readonly connections = new ConnectionSet<C>();
  protected readonly sessions = new SessionSet(this.connections);
  protected readonly peers: PeerWatch;
  readonly #scopes = new Map<string, OwnerScope<P>>();
  #draining = false;

  constructor(options: EngineOptions) {
    this.peers = new PeerWatch(options.revocations ?? (() => RevocationLists.none));
  }

  /** @param netns the owner's, valid until the pool is destroyed */
  protected abstract makePool(netns: Netns | undefined): P;
  /** Throws ERR_SYSTEM. */
  protected abstract listenIn(scope: OwnerScope<P>, options: ListenerOptions): EngineListener;
  /** Bytes that wait in this process for slow sides. */
  protected abstract bufferedBytes(): number;
  /** Everything has ended: gives back what the engine itself holds. */
  protected abstract release(): void;

  async listen(options: ListenerOptions): Promise<EngineListener> {
    return this.listenIn(this.scopeOf(options.owner, options.netns), options);
  }

  /** The scope of an owner, made at its first use; without `netns` in the process' own namespace. */
  protected scopeOf(owner: string, netns?: Netns): OwnerScope<P> {
    if (this.#draining) throw new MeshError('ERR_ABORTED', 'the engine is draining');
    const known = this.#scopes.get(owner);
    if (known) return known;
    const scope = new OwnerScope(owner, netns, (namespace) => this.makePool(namespace));
    this.#scopes.set(owner, scope);
    return scope;
  }

  cut(id: ConnectionId, flag: ResponseFlag, error: string): void {
    this.connections.find(id)?.cut(flag, error);
  }

  /** An engine that remembers none has none to forget. */
  forgetDecisions(): void {}

  /** Nothing to forget: contexts are kept by certificate version. */
  credentialsChanged(_identity: Identity): void {}

  recheckPeers(): void {
    this.forgetDecisions();
    this.peers.recheck();
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
    await this.connections.drain(undefined, deadlineMs);
    this.sessions.destroy(undefined);
  }

  stats(): EngineStats {
    let sessions = this.sessions.size;
    for (const { pool } of this.#scopes.values()) sessions += pool.size;
    return { connections: this.connections.size, sessions, bufferedBytes: this.bufferedBytes() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drainAll(0);
    this.release();
  }

  /** The scope of an owner that takes connections. */
  protected findScope(owner: string): OwnerScope<P> | undefined {
    return this.#scopes.get(owner);
  }

  async #drainScope(scope: OwnerScope<P>, deadlineMs: number): Promise<void> {
    await scope.close();
    this.sessions.goAway(scope.name);
    await this.connections.drain(scope.name, deadlineMs);
    // an owner that came back under the same name meanwhile has sessions of its own
    if (!this.#scopes.has(scope.name)) this.sessions.destroy(scope.name);
    scope.release();
  }
}

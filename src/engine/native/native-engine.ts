/**
 * The engine whose bytes never enter JavaScript: native threads accept, dial, encrypt, frame, copy and count; here is
 * asked and told. See `../port.ts` for the promises.
 */
import { availableParallelism } from 'node:os';
import type { Netns } from 'culvert-netns';
import { LocalPeers } from '../local-peers.ts';
import type { OwnerScope } from '../owner-scope.ts';
import type { EngineHandlers, EngineListener, EngineOptions, ListenerOptions } from '../port.ts';
import { ScopedEngine } from '../scoped-engine.ts';
import { loadAddon, type NativeOptions } from './addon.ts';
import { EngineThreads } from './engine-threads.ts';
import { type HboneServiceDeps, listenHbone } from './hbone-service.ts';
import { LocalJoins } from './local-joins.ts';
import type { NativeConnection } from './native-connection.ts';
import { NestedTunnels } from './nested-tunnels.ts';
import { OwnerPool } from './owner-pool.ts';
import { PeerVerdicts } from './peer-verdicts.ts';
import { listenPlain, type PlainServiceDeps } from './plain-service.ts';
import { TlsContexts } from './tls-contexts.ts';

export interface NativeEngineOptions extends EngineOptions {
  /** Threads that move bytes; one per core when absent. */
  readonly threads?: number;
}

export class NativeEngine extends ScopedEngine<OwnerPool, NativeConnection> {
  override readonly name = 'native';
  readonly #threads: EngineThreads;
  readonly #deps: PlainServiceDeps & HboneServiceDeps;
  readonly #owners = new Map<number, OwnerScope<OwnerPool>>();

  /** Throws ERR_UNSUPPORTED when the add-on cannot be used. */
  constructor(handlers: EngineHandlers, options: NativeEngineOptions) {
    const addon = loadAddon();
    super(options);
    const { connections, sessions, peers } = this;
    const threads = new EngineThreads(addon, options.threads ?? availableParallelism(), toNative(options), {
      onProgress: (id, received, sent) => {
        if (connections.find(id)) handlers.progress(id, received, sent);
      },
      onSessionWanted: (wanted) => void verdicts.attend(this.#owners.get(wanted.owner), wanted),
    });
    this.#threads = threads;
    const contexts = new TlsContexts(addon);
    const verdicts = new PeerVerdicts({ handlers, options, threads, contexts, peers });
    const nested = new NestedTunnels({ handlers, options, threads, verdicts });
    const localPeers = new LocalPeers({ handlers, peers });
    const findScope = (owner: string) => this.findScope(owner);
    const localJoins = new LocalJoins({ handlers, threads, connections, localPeers, findScope });
    this.#deps = { handlers, options, localJoins, threads, contexts, peers, connections, sessions, nested };
  }

  override forgetDecisions(): void {
    this.#threads.forgetDecisions();
  }

  protected override makePool(netns: Netns | undefined): OwnerPool {
    return new OwnerPool(this.#threads, netns, (id) => this.#owners.delete(id));
  }

  protected override listenIn(scope: OwnerScope<OwnerPool>, options: ListenerOptions): EngineListener {
    this.#owners.set(scope.pool.id, scope);
    return options.kind === 'inbound-hbone'
      ? listenHbone(this.#deps, scope, options)
      : listenPlain(this.#deps, scope, options);
  }

  protected override bufferedBytes(): number {
    return this.#threads.bufferedBytes;
  }

  protected override release(): void {
    this.#threads.stop();
  }
}

function toNative(options: EngineOptions): NativeOptions {
  const { keepalive, userTimeout } = options;
  return {
    streamWindow: options.streamWindowBytes,
    connectionWindow: options.connectionWindowBytes,
    frameSize: options.frameSizeBytes,
    streamsPerSession: options.maxStreamsPerSession,
    poolIdleMs: options.poolIdleTimeoutMs,
    connectTimeoutMs: options.connectTimeoutMs,
    mark: options.mark,
    sourceMark: options.sourcePreservingMark,
    keepaliveTimeS: keepalive && Math.ceil(keepalive.timeMs / 1_000),
    keepaliveIntervalS: keepalive && Math.ceil(keepalive.intervalMs / 1_000),
    keepaliveRetries: keepalive?.retries,
    userTimeoutMs: userTimeout && keepalive ? keepalive.timeMs + keepalive.intervalMs * keepalive.retries : undefined,
  };
}

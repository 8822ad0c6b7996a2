/**
 * The engine whose bytes never enter JavaScript: native threads encrypt, frame, copy and count; here is asked, dialled
 * and told. See `../port.ts` for the promises.
 */
import { Dialer } from '../dialer.ts';
import type { OwnerScope } from '../owner-scope.ts';
import type { EngineHandlers, EngineListener, EngineOptions, ListenerOptions } from '../port.ts';
import { ScopedEngine } from '../scoped-engine.ts';
import { loadAddon } from './addon.ts';
import { EngineThreads } from './engine-threads.ts';
import { type HboneServiceDeps, listenHbone } from './hbone-service.ts';
import type { NativeConnection } from './native-connection.ts';
import type { NativeSession } from './native-session.ts';
import { listenPlain, type PlainServiceDeps } from './plain-service.ts';
import { TlsContexts } from './tls-contexts.ts';
import { TunnelDial } from './tunnel-dial.ts';

export interface NativeEngineOptions extends EngineOptions {
  /** Threads that move bytes; 1 when absent. */
  readonly threads?: number;
}

export class NativeEngine extends ScopedEngine<NativeSession, NativeConnection> {
  override readonly name = 'native';
  readonly #threads: EngineThreads;
  readonly #deps: PlainServiceDeps & HboneServiceDeps;

  /** Throws ERR_UNSUPPORTED when the add-on cannot be used. */
  constructor(handlers: EngineHandlers, options: NativeEngineOptions) {
    const addon = loadAddon();
    super(options);
    const { connections, sessions, peers } = this;
    this.#threads = new EngineThreads(addon, options.threads ?? 1, options, (id, received, sent) => {
      if (connections.find(id)) handlers.progress(id, received, sent);
    });
    const shared = {
      handlers,
      options,
      threads: this.#threads,
      dialer: new Dialer(options),
      contexts: new TlsContexts(addon),
      peers,
      connections,
      sessions,
    };
    this.#deps = { ...shared, tunnels: new TunnelDial(shared) };
  }

  protected override listenIn(scope: OwnerScope<NativeSession>, options: ListenerOptions): EngineListener {
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

/**
 * The engine in TypeScript, on `node:http2`, `node:tls` and `node:net`: the reference for what every engine does.
 * See `../port.ts` for the promises.
 */
import type { ClientHttp2Session } from 'node:http2';
import type { Duplex } from 'node:stream';
import { SessionPool, TlsContextCache } from '../../hbone/index.ts';
import { Dialer } from '../dialer.ts';
import { LocalPeers } from '../local-peers.ts';
import type { OwnerScope } from '../owner-scope.ts';
import type { EngineHandlers, EngineListener, EngineOptions, ListenerOptions, OriginateRequest } from '../port.ts';
import { ScopedEngine } from '../scoped-engine.ts';
import type { Connection } from './connection.ts';
import { HboneDial } from './hbone-dial.ts';
import { type HboneListenerDeps, listenHbone } from './hbone-listener.ts';
import { listenPlain, type PlainListenerDeps } from './plain-listener.ts';
import { TunnelDuplex } from './tunnel-duplex.ts';

const REPORT_INTERVAL_MS = 1_000;

export class TypescriptEngine extends ScopedEngine<SessionPool<ClientHttp2Session>, Connection> {
  override readonly name = 'typescript';
  readonly #deps: PlainListenerDeps & HboneListenerDeps;
  readonly #reports: NodeJS.Timeout;
  readonly #options: EngineOptions;
  #lastId = 0;

  constructor(handlers: EngineHandlers, options: EngineOptions) {
    super(options);
    this.#options = options;
    const { connections, sessions, peers } = this;
    const dialer = new Dialer(options);
    const hbone = new HboneDial({ handlers, options, dialer, contexts: new TlsContextCache(), peers });
    const nextId = (): number => ++this.#lastId;
    const localPeers = new LocalPeers({ handlers, peers });
    const findScope = (owner: string) => this.findScope(owner);
    const local = { handlers, dialer, connections, nextId, localPeers, findScope };
    this.#deps = { handlers, options, dialer, hbone, local, connections, sessions, peers, nextId };
    this.#reports = setInterval(() => {
      for (const connection of connections) connection.report();
    }, REPORT_INTERVAL_MS);
    this.#reports.unref();
  }

  protected override makePool(): SessionPool<ClientHttp2Session> {
    const { maxStreamsPerSession, poolIdleTimeoutMs } = this.#options;
    return new SessionPool({ maxStreamsPerSession, idleTimeoutMs: poolIdleTimeoutMs });
  }

  protected override listenIn(
    scope: OwnerScope<SessionPool<ClientHttp2Session>>,
    options: ListenerOptions,
  ): EngineListener {
    return options.kind === 'inbound-hbone'
      ? listenHbone(this.#deps, scope, options)
      : listenPlain(this.#deps, scope, options);
  }

  async originate({ owner, session, connect }: OriginateRequest, signal: AbortSignal): Promise<Duplex> {
    const { stream } = await this.#deps.hbone.open(this.scopeOf(owner), { session, connect }, signal);
    return new TunnelDuplex(stream);
  }

  protected override bufferedBytes(): number {
    let bytes = 0;
    for (const connection of this.connections) bytes += connection.bufferedBytes;
    return bytes;
  }

  protected override release(): void {
    clearInterval(this.#reports);
  }
}

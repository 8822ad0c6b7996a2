/**
 * A waypoint: the engine, what it was told, and what it does with tunnels, put together. The program around it gives
 * certificates, configuration and the ports.
 */
import { lookup } from 'node:dns/promises';
import { Counter } from 'prom-client';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { MetricsRegistry } from '../core/metrics.ts';
import type { Engine, EngineHandlers, EngineListener, TlsCredentials } from '../engine/index.ts';
import type { Identity } from '../model/identity.ts';
import { INBOUND_HBONE_PORT } from '../model/ports.ts';
import { HttpService } from './http-service.ts';
import { fetchText } from './jwt/fetch-text.ts';
import { KeyStore } from './jwt/key-store.ts';
import type { TunnelContext } from './listener/tunnel-context.ts';
import { TunnelServer } from './listener/tunnel-server.ts';
import { PolicyAdmission } from './policy/endpoint-admission.ts';
import { ServiceAuthorizer } from './policy/external-authorizer.ts';
import type { TokenTaker } from './rate-limit/token-buckets.ts';
import type { RouterDeps } from './router.ts';
import type { CompiledPort } from './state/compiled-service.ts';
import { WaypointState } from './state/waypoint-state.ts';
import { RequestMetrics } from './telemetry/request-metrics.ts';
import { WaypointTelemetry } from './telemetry/waypoint-telemetry.ts';
import { UPSTREAM_OWNER, UpstreamDialer } from './upstream/dialer.ts';
import { serviceCaller } from './upstream/service-caller.ts';
import { WaypointHandlers } from './waypoint-handlers.ts';

export interface WaypointOptions {
  readonly identity: Identity;
  /** `::` listens on both families. */
  readonly host: string;
  readonly port?: number;
  /** Workers of one pod share the port. */
  readonly reusePort: boolean;
}

export interface WaypointDeps {
  readonly makeEngine: (handlers: EngineHandlers) => Engine;
  readonly credentials: (identity: Identity, signal: AbortSignal) => Promise<TlsCredentials>;
  readonly registry: MetricsRegistry;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly writeAccessLog: (line: string) => void;
  /** Where the tokens of local rate limits are. */
  readonly buckets: TokenTaker;
}

const OWNER = 'waypoint';

export class Waypoint implements AsyncDisposable {
  readonly state: WaypointState;
  readonly #options: WaypointOptions;
  readonly #clock: Clock;
  readonly #engine: Engine;
  readonly #tunnels: TunnelServer;
  #listener: EngineListener | undefined;

  constructor(options: WaypointOptions, deps: WaypointDeps) {
    const { identity } = options;
    const { clock, random, log, registry } = deps;
    this.#options = options;
    this.#clock = clock;
    const refusals = new Counter({
      name: 'culvert_waypoint_tunnels_refused_total',
      help: 'Tunnels refused before anything was sent in them, by reason (unstable).',
      labelNames: ['reason'],
      registers: [registry],
    });
    const handlers = new WaypointHandlers({
      get state() {
        return state();
      },
      identity,
      credentials: deps.credentials,
      serve: (bytes, context) => void this.#tunnels.serve(bytes, context),
      log: log.child('tunnel'),
      onHandshakeFailure: ({ flag }) => refusals.inc({ reason: flag }),
      onRefusal: (reason) => refusals.inc({ reason }),
    });
    this.#engine = deps.makeEngine(handlers);
    const dialer = new UpstreamDialer({ engine: this.#engine, identity, resolve: resolveHost });
    const findCluster = (key: string) => this.state.clusterRuntime(key);
    const call = serviceCaller(findCluster);
    const policyLog = log.child('policy');
    const authorizer = new ServiceAuthorizer({ call, identity, log: policyLog });
    const notes = new Counter({
      name: 'culvert_waypoint_policy_notes_total',
      help: 'What AUDIT and dry-run policies said, without effect (unstable).',
      labelNames: ['policy', 'action', 'matched'],
      registers: [registry],
    });
    const guard = {
      authorizer,
      onNote: (policy: string, action: string, matched: boolean) =>
        notes.inc({ policy, action, matched: String(matched) }),
      log: policyLog,
    };
    const keys = new KeyStore({ clock, fetch: fetchText });
    const filters = { identity, clock, random, log: log.child('filter'), guard, keys, buckets: deps.buckets, call };
    const onPolicies = () => admission.forget();
    this.state = new WaypointState({ dialer, filters, clock, random, log: log.child('state'), onPolicies });
    const admission = new PolicyAdmission(this.state, guard);
    const state = () => this.state;
    const findPort = (context: TunnelContext): CompiledPort | undefined => this.#findPort(context);
    const isLeaving = ({ target }: TunnelContext): boolean =>
      target.kind === 'SERVICE' && this.state.isLeaving(target.key);
    const router: RouterDeps = { findCluster, admission, clock, random };
    const metrics = new RequestMetrics(registry);
    const telemetry = new WaypointTelemetry({ metrics, clock, writeAccessLog: deps.writeAccessLog });
    const http = new HttpService({ ...router, log: log.child('http'), findPort, isLeaving, telemetry });
    this.#tunnels = new TunnelServer({ http, router, findPort, telemetry });
  }

  /** Accepts tunnels. Rejects with ERR_SYSTEM. */
  async listen(): Promise<void> {
    const { host, port = INBOUND_HBONE_PORT, reusePort } = this.#options;
    this.#listener = await this.#engine.listen({
      kind: 'inbound-hbone',
      owner: OWNER,
      ip: host,
      port,
      reusePort,
      transparent: false,
    });
  }

  /** The port it listens on; 0 before. */
  get port(): number {
    return this.#listener?.port ?? 0;
  }

  get connections(): number {
    return this.#engine.stats().connections;
  }

  /**
   * Clients are asked to leave. New tunnels are accepted for `lingerMs` more: who sends them hears of the end later than we
   * do. Resolves when the last has left, at `deadlineMs` after that at the latest.
   */
  async drain({ lingerMs, deadlineMs }: { readonly lingerMs: number; readonly deadlineMs: number }): Promise<void> {
    this.#tunnels.drain();
    await this.#clock.sleep(lingerMs);
    await this.#engine.drain(OWNER, deadlineMs);
    await this.#engine.drain(UPSTREAM_OWNER, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#tunnels.close();
    this.state[Symbol.dispose]();
    await this.#engine[Symbol.asyncDispose]();
  }

  #findPort({ target }: TunnelContext): CompiledPort | undefined {
    return target.kind === 'SERVICE' ? this.state.service(target.key)?.port(target.port) : undefined;
  }
}

async function resolveHost(hostname: string): Promise<readonly string[]> {
  const found = await lookup(hostname, { all: true, order: 'verbatim' });
  return found.map(({ address }) => address);
}

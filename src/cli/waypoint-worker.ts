/** One worker of a waypoint: its certificates, its own subscription, its part of the tunnels. */
import type { Logger } from '../core/logger.ts';
import type { MetricsRegistry } from '../core/metrics.ts';
import { systemClock } from '../core/system-clock.ts';
import { type EngineOptions, TypescriptEngine } from '../engine/index.ts';
import { CertificateCache, SigningClient } from '../pki/index.ts';
import { type TokenTaker, Waypoint } from '../waypoint/index.ts';
import { DiscoveryClient, waypointNodeId } from '../xds/index.ts';
import type { WaypointConfig } from './waypoint-config.ts';

const MIB = 1024 * 1024;
const ENGINE_OPTIONS: EngineOptions = {
  maxStreamsPerSession: 100,
  poolIdleTimeoutMs: 300_000,
  connectTimeoutMs: 10_000,
  streamWindowBytes: 4 * MIB,
  connectionWindowBytes: 16 * MIB,
  frameSizeBytes: MIB,
  keepalive: { timeMs: 180_000, intervalMs: 180_000, retries: 9 },
  userTimeout: false,
};

export interface WorkerDeps {
  readonly log: Logger;
  readonly registry: MetricsRegistry;
  readonly writeAccessLog: (line: string) => void;
  readonly buckets: TokenTaker;
}

export interface Worker extends AsyncDisposable {
  readonly waypoint: Waypoint;
  /** Resolves when it has its configuration and its certificate and listens. */
  readonly ready: Promise<void>;
  /** Clients are asked to leave; resolves when they have, or at the deadline. */
  drain(): Promise<void>;
}

export async function startWorker(config: WaypointConfig, deps: WorkerDeps): Promise<Worker> {
  const { identity, controlPlane } = config;
  const { log, registry, writeAccessLog, buckets } = deps;
  const stop = new AbortController();
  await using stack = new AsyncDisposableStack();
  const source = stack.use(
    new SigningClient({ endpoint: controlPlane, ttlSeconds: config.secretTtlSeconds, impersonate: false }),
  );
  const certificates = stack.use(
    new CertificateCache({
      source,
      clock: systemClock,
      log: log.child('identity'),
      random: Math.random,
      concurrency: 1,
    }),
  );
  const waypoint = stack.use(
    new Waypoint(
      { identity, host: config.ipv6 ? '::' : '0.0.0.0', reusePort: config.workers > 1 },
      {
        makeEngine: (handlers) => new TypescriptEngine(handlers, ENGINE_OPTIONS),
        credentials: (of, signal) => certificates.get(of, signal),
        registry,
        clock: systemClock,
        random: Math.random,
        log,
        writeAccessLog,
        buckets,
      },
    ),
  );
  const { namespace } = identity;
  const client = new DiscoveryClient({
    endpoint: controlPlane,
    node: {
      id: waypointNodeId({ ip: config.instanceIp, pod: config.podName, namespace }),
      metadata: {
        GATEWAY_NAME: config.gateway,
        NAMESPACE: namespace,
        SERVICE_ACCOUNT: identity.serviceAccount,
        NODE_NAME: config.nodeName,
      },
    },
    subscriptions: waypoint.state.subscriptions(),
    clock: systemClock,
    log: log.child('xds'),
    onConnected: () => certificates.retryFailed(),
  });
  const running = client.run(stop.signal);
  stack.defer(async () => {
    stop.abort();
    await running;
  });
  const ready = async (): Promise<void> => {
    await Promise.all([client.ready, certificates.get(identity, stop.signal)]);
    waypoint.state.flush();
    await waypoint.listen();
  };
  const owned = stack.move();
  const becoming = ready();
  becoming.catch(() => undefined); // told to whoever waits for it
  return {
    waypoint,
    ready: becoming,
    drain: () => waypoint.drain({ lingerMs: config.lingerMs, deadlineMs: config.drainMs }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

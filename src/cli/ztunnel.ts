/**
 * `culvert ztunnel`: the node tunnel as a process.
 *
 * Start order: configuration, readiness, metrics, state and control plane, admin; then, after the first sync, the
 * tunnel's own listener and the node agent. Pods are therefore never announced as served before their policies are known.
 * End: listeners close, connections finish for at most the termination deadline, then everything is released.
 */
import { existsSync, readFileSync } from 'node:fs';
import { bindUdp, closeFd, Netns, SeqpacketSocket } from 'culvert-netns';
import { Counter, Gauge } from 'prom-client';
import type { Env } from '../core/config-reader.ts';
import { errorMessage, MeshError } from '../core/errors.ts';
import { type GrpcEndpoint, readText } from '../core/grpc-endpoint.ts';
import { type HttpListener, serveHttp } from '../core/http-listener.ts';
import { fileSink, LogWriter } from '../core/log-writer.ts';
import type { Logger } from '../core/logger.ts';
import { type MetricsRegistry, newMetricsRegistry } from '../core/metrics.ts';
import { serveMetrics } from '../core/metrics-server.ts';
import { systemClock } from '../core/system-clock.ts';
import { type EngineOptions, NativeEngine, TypescriptEngine } from '../engine/index.ts';
import { ILLEGAL_PORTS, SOURCE_PRESERVING_MARK } from '../model/ports.ts';
import { CertificateCache, RevocationFile, RevocationLists, SigningClient } from '../pki/index.ts';
import { ADDRESS_TYPE, addressSubscription, authorizationSubscription, DiscoveryClient } from '../xds/index.ts';
import {
  adminHandler,
  configDump,
  type Demand,
  type Json,
  MeshState,
  parseResolvConf,
  parseStaticConfig,
  prefetchCertificates,
  Readiness,
  runZdsClient,
  serveReadiness,
  systemLookup,
  Tunnel,
} from '../ztunnel/index.ts';
import { MESH_CONFIG_PATH, parseZtunnelConfig, type ServerConfig, type ZtunnelConfig } from './ztunnel-config.ts';
import { dumpConfig, dumpVersion } from './ztunnel-dump.ts';

const STDOUT = 1;
const CERTIFICATE_CONCURRENCY = 8;

/** Runs until `signal` aborts or the admin port asks for the end. Resolves with the exit code. */
export async function runZtunnel(env: Env, signal: AbortSignal): Promise<number> {
  let config: ZtunnelConfig;
  try {
    config = parseZtunnelConfig(env, { exists: existsSync, meshConfig: readIfExists(MESH_CONFIG_PATH) });
  } catch (error) {
    process.stderr.write(`ztunnel: ${errorMessage(error)}\n`);
    return 1;
  }
  const logs = new LogWriter({ format: config.logFormat, filter: config.logFilter, sink: fileSink(STDOUT) });
  try {
    await serve(config, logs, signal);
    return 0;
  } catch (error) {
    logs.logger.error('ztunnel failed', { error: errorMessage(error) });
    return 1;
  } finally {
    logs.flush();
  }
}

async function serve(config: ZtunnelConfig, logs: LogWriter, signal: AbortSignal): Promise<void> {
  const log = logs.logger;
  if (config.mode === 'shared') checkCapabilities();
  const quit = new AbortController();
  const stop = AbortSignal.any([signal, quit.signal]);
  await using resources = new AsyncDisposableStack();
  const readiness = new Readiness(
    config.mode === 'shared'
      ? ['state manager', 'proxy', 'dns proxy', 'workload proxy manager']
      : ['state manager', 'proxy', 'dns proxy'],
  );
  const host = config.ipv6 ? '::' : '0.0.0.0';
  resources.use(await serveReadiness({ host, port: config.readinessPort }, readiness));
  const registry = buildRegistry(config);
  const state = new MeshState({ node: config.nodeName, clock: systemClock });
  const certificates = startCertificates(config, { state, log, resources });
  const staticConfig = await loadStatic(config, state); // after those who want to hear of its workloads
  const control = startControlPlane({ config, state, certificates, registry, log });
  resources.use(control);
  const tunnel = await startTunnel({
    config,
    state,
    certificates,
    registry,
    log,
    resources,
    onPods: () => podsChanged(),
    demand: config.xdsOnDemand ? control.demand : undefined,
  });
  let isSynced = false;
  const podsChanged = (): void => readiness.set('workload proxy manager', isSynced && tunnel.pods.pending === 0);
  const dump = (): Readonly<Record<string, Json>> =>
    configDump({
      state,
      certificates: () => certificates.status(),
      pods: () => tunnel.pods.states(),
      connectionsOf: (owner) => tunnel.connectionsOf(owner),
      config: dumpConfig(config),
      staticConfig,
      version: dumpVersion(config),
    });
  const admin = adminHandler({ dump, logs, shutdown: () => quit.abort() });
  resources.use(await serveLocal(config, admin));
  await untilAborted(control.ready, stop);
  if (!stop.aborted) {
    readiness.set('state manager', true);
    await startListeners(config, tunnel, log);
    resources.use(await serveMetrics({ host, port: config.statsPort }, registry));
    readiness.set('proxy', true);
    readiness.set('dns proxy', true);
    log.info('ztunnel is up', { mode: config.mode, node: config.nodeName });
    if (config.mode === 'shared') {
      const synced = (value: boolean): void => {
        isSynced = value;
        podsChanged();
      };
      await runAgentClient({ config, tunnel, registry, log, synced }, stop);
    } else {
      await aborted(stop);
    }
  }
  readiness.drain();
  log.info('ztunnel drains', { connections: tunnel.connections, deadlineMs: config.drainMs });
  await tunnel.drain(config.drainMs);
  log.info('ztunnel ends');
}

/** In shared mode sockets are made in other namespaces and marked; without the privilege nothing would work. */
function checkCapabilities(): void {
  try {
    using own = Netns.current();
    closeFd(bindUdp(own, { ip: '127.0.0.1', port: 0, mark: 1 }));
  } catch (cause) {
    const hint = 'shared mode needs CAP_SYS_ADMIN and CAP_NET_ADMIN';
    throw new MeshError('ERR_UNSUPPORTED', `${hint}: ${errorMessage(cause)}`, { cause });
  }
}

function buildRegistry(config: ZtunnelConfig): MetricsRegistry {
  const registry = newMetricsRegistry();
  new Gauge({
    name: 'istio_build',
    help: 'Istio component build info.',
    labelNames: ['component', 'tag'],
    registers: [registry],
  }).set({ component: 'ztunnel', tag: config.version }, 1);
  return registry;
}

async function loadStatic({ staticConfig }: ZtunnelConfig, state: MeshState): Promise<Json> {
  const empty = { workloads: [], services: [], policies: [] };
  if (!staticConfig) return empty;
  const { addresses, policies } = parseStaticConfig(await readText(staticConfig, 'static config'));
  state.applyPolicies({ updates: policies, removed: [] });
  state.applyAddresses({ updates: addresses, removed: [] });
  return { ...empty, source: 'file' in staticConfig ? staticConfig.file : 'inline' };
}

function toEndpoint({ address, roots, alternativeHostname, token, headers }: ServerConfig): GrpcEndpoint {
  return { address, roots, token, headers, ...(alternativeHostname === undefined ? {} : { alternativeHostname }) };
}

/** Both the client and the cache are released with `resources`. */
function startCertificates(
  config: ZtunnelConfig,
  { state, log, resources }: Pick<TunnelParts, 'state' | 'log' | 'resources'>,
): CertificateCache {
  if (!config.ca) throw new MeshError('ERR_CONFIG', 'CA_ADDRESS is empty: there is nobody to sign certificates');
  const source = resources.use(
    new SigningClient({
      endpoint: toEndpoint(config.ca),
      ttlSeconds: config.secretTtlSeconds,
      impersonate: config.mode === 'shared',
    }),
  );
  const options = {
    source,
    clock: systemClock,
    log: log.child('identity'),
    random: Math.random,
    concurrency: CERTIFICATE_CONCURRENCY,
  };
  const cache = resources.use(new CertificateCache(options));
  if (config.mode === 'shared') prefetchCertificates(state, config.nodeName, cache);
  return cache;
}

interface TunnelParts {
  readonly config: ZtunnelConfig;
  readonly state: MeshState;
  readonly certificates: CertificateCache;
  readonly registry: MetricsRegistry;
  readonly log: Logger;
  readonly resources: AsyncDisposableStack;
  readonly onPods: () => void;
  readonly demand: Demand | undefined;
}

async function startTunnel({
  config,
  state,
  certificates,
  registry,
  log,
  resources,
  onPods,
  demand,
}: TunnelParts): Promise<Tunnel> {
  let recheck = (): void => {};
  const { crlPath } = config;
  const onChange = (): void => recheck();
  const crl =
    crlPath && (await RevocationFile.open({ path: crlPath, clock: systemClock, log: log.child('crl'), onChange }));
  if (crl) resources.use(crl);
  const tunnel = new Tunnel({
    config: {
      decider: {
        network: config.network,
        illegalPorts: ILLEGAL_PORTS,
        preserveSource: config.preserveSource,
        responseBaggage: config.responseBaggage,
        localhostAppTunnel: config.localhostAppTunnel,
        policyInfoLog: config.policyInfoLog,
      },
      listeners: {
        ipv6: config.ipv6,
        mark: config.mode === 'shared' ? config.mark : undefined,
        reusePort: config.mode === 'shared' && config.reusePort,
        transparent: config.preserveSource,
        dnsPort: config.dns?.port,
      },
      drainMs: config.drainMs,
      clusterDomain: config.clusterDomain,
      preferredServiceNamespace: config.preferredServiceNamespace,
      resolvConf: parseResolvConf(readIfExists('/etc/resolv.conf') ?? ''),
      dedicated: config.mode === 'dedicated',
    },
    state,
    demand,
    credentials: (identity, signal) => certificates.get(identity, signal),
    makeEngine: (handlers) => {
      const options: EngineOptions = {
        maxStreamsPerSession: config.maxStreamsPerSession,
        poolIdleTimeoutMs: config.poolIdleTimeoutMs,
        connectTimeoutMs: 10_000,
        streamWindowBytes: config.streamWindowBytes,
        connectionWindowBytes: config.connectionWindowBytes,
        frameSizeBytes: config.frameSizeBytes,
        ...(config.mark === undefined ? {} : { mark: config.mark }),
        sourcePreservingMark: SOURCE_PRESERVING_MARK,
        keepalive: config.keepalive,
        userTimeout: config.userTimeout,
        revocations: () => (crl ? crl.current : RevocationLists.none),
      };
      return config.engine === 'native'
        ? new NativeEngine(handlers, { ...options, threads: config.engineThreads })
        : new TypescriptEngine(handlers, options);
    },
    lookup: systemLookup(),
    registry,
    clock: systemClock,
    random: Math.random,
    log,
    podsChanged: onPods,
  });
  recheck = () => tunnel.engine.recheckPeers?.();
  return tunnel;
}

interface ControlPlane extends AsyncDisposable {
  /** The first state of every type has been applied. */
  readonly ready: Promise<void>;
  /** Asks for one address; of use only when the subscription is on demand. Absent without a control plane. */
  readonly demand?: Demand;
}

function startControlPlane(parts: Omit<TunnelParts, 'resources' | 'onPods' | 'demand'>): ControlPlane {
  const { config, state, certificates, registry, log } = parts;
  if (!config.xds) return { ready: Promise.resolve(), async [Symbol.asyncDispose]() {} };
  const stop = new AbortController();
  const xdsLog = log.child('xds');
  const counter = <L extends string>(name: string, help: string, label: L): Counter<L> =>
    new Counter({ name, help: `${help} (unstable).`, labelNames: [label], registers: [registry] });
  const terminations = counter(
    'istio_xds_connection_terminations_total',
    'The total number of completed connections to xds server',
    'reason',
  );
  const messages = counter('istio_xds_message_total', 'Total number of messages received', 'url');
  const bytes = counter('istio_xds_message_bytes_total', 'Total number of bytes received', 'url');
  const report = (rejected: readonly { readonly name: string; readonly reason: string }[]): void => {
    for (const { name, reason } of rejected) xdsLog.warn('resource refused', { name, reason });
  };
  const client = new DiscoveryClient({
    endpoint: toEndpoint(config.xds),
    node: { id: config.nodeId, metadata: config.nodeMetadata },
    subscriptions: [
      addressSubscription(config.xdsOnDemand ? 'on-demand' : 'wildcard', ({ updated, removed }) =>
        report(state.applyAddresses({ updates: updated.map(({ value }) => value), removed })),
      ),
      authorizationSubscription(({ updated, removed }) =>
        report(state.applyPolicies({ updates: updated.map(({ value }) => value), removed })),
      ),
    ],
    clock: systemClock,
    log: xdsLog,
    onTermination: (reason) => terminations.inc({ reason }),
    onMessage(url, resourceBytes) {
      messages.inc({ url });
      bytes.inc({ url }, resourceBytes);
    },
    onConnected: () => certificates.retryFailed(),
  });
  const running = client.run(stop.signal);
  return {
    ready: client.ready,
    demand: (name, signal) => client.demand(ADDRESS_TYPE, name, signal),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

async function startListeners(config: ZtunnelConfig, tunnel: Tunnel, log: Logger): Promise<void> {
  if (config.dedicatedPod) {
    await tunnel.listenDedicated(config.dedicatedPod);
    return;
  }
  const { ownPod, trustDomain } = config;
  if (!ownPod) {
    log.info('no listener of its own: POD_NAME, POD_NAMESPACE and SERVICE_ACCOUNT are not all set');
    return;
  }
  await tunnel.listenForSelf(ownPod, {
    trustDomain,
    namespace: ownPod.namespace,
    serviceAccount: ownPod.serviceAccount,
  });
}

interface AgentParts {
  readonly config: ZtunnelConfig;
  readonly tunnel: Tunnel;
  readonly registry: MetricsRegistry;
  readonly log: Logger;
  readonly synced: (isSynced: boolean) => void;
}

function runAgentClient({ config, tunnel, registry, log, synced }: AgentParts, signal: AbortSignal): Promise<void> {
  const refusals = new Counter({
    name: 'culvert_zds_protocol_errors_total',
    help: 'The total number of messages of the node agent that broke the protocol (unstable).',
    registers: [registry],
  });
  return runZdsClient(
    {
      connect: () => SeqpacketSocket.connect(config.inpodSocket),
      adoptNetns: (fd) => Netns.adopt(fd),
      closeFd,
      pods: tunnel.pods,
      clock: systemClock,
      log: log.child('inpod'),
      synced,
      refused: () => refusals.inc(),
    },
    signal,
  );
}

/** The admin port is reached on both loopback addresses, and nowhere else. */
async function serveLocal(
  { adminPort, ipv6 }: ZtunnelConfig,
  handler: ReturnType<typeof adminHandler>,
): Promise<HttpListener> {
  const v4 = await serveHttp({ host: '127.0.0.1', port: adminPort }, handler);
  const v6 = ipv6 ? await serveHttp({ host: '::1', port: adminPort }, handler).catch(() => undefined) : undefined;
  return {
    port: v4.port,
    async [Symbol.asyncDispose]() {
      await v4[Symbol.asyncDispose]();
      await v6?.[Symbol.asyncDispose]();
    },
  };
}

function readIfExists(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  await Promise.race([promise, aborted(signal)]);
}

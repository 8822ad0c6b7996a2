/**
 * The parts of the node tunnel, made from its configuration: metrics, certificates, control plane, and the tunnel with its
 * engine. Nothing here listens or decides when; what is started is released by the caller, or with `resources`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { Counter, Gauge } from 'prom-client';
import { MeshError } from '../core/errors.ts';
import { type GrpcEndpoint, readText } from '../core/grpc-endpoint.ts';
import type { Logger } from '../core/logger.ts';
import { type MetricsRegistry, newMetricsRegistry } from '../core/metrics.ts';
import { systemClock } from '../core/system-clock.ts';
import { ILLEGAL_PORTS } from '../model/ports.ts';
import { CertificateCache, RevocationFile, RevocationLists, SigningClient } from '../pki/index.ts';
import { ADDRESS_TYPE, addressSubscription, authorizationSubscription, DiscoveryClient } from '../xds/index.ts';
import {
  type Demand,
  type Json,
  type MeshState,
  parseResolvConf,
  prefetchCertificates,
  readStaticConfig,
  systemLookup,
  Tunnel,
} from '../ztunnel/index.ts';
import type { ServerConfig, ZtunnelConfig } from './ztunnel-config.ts';
import { makeEngine } from './ztunnel-engine.ts';

const CERTIFICATE_CONCURRENCY = 8;

/** A registry with the gauge that names this build. */
export function buildRegistry(config: ZtunnelConfig): MetricsRegistry {
  const registry = newMetricsRegistry();
  new Gauge({
    name: 'istio_build',
    help: 'Istio component build info.',
    labelNames: ['component', 'tag'],
    registers: [registry],
  }).set({ component: 'ztunnel', tag: config.version }, 1);
  return registry;
}

/** Puts the static configuration, if there is any, into the state; what the config dump shows of it. Rejects with ERR_CONFIG. */
export async function loadStatic({ staticConfig }: ZtunnelConfig, state: MeshState): Promise<Json> {
  const empty = { workloads: [], services: [], policies: [] };
  if (!staticConfig) return empty;
  const { addresses, policies } = await readStaticConfig(await readText(staticConfig, 'static config'));
  state.applyPolicies({ updates: policies, removed: [] });
  state.applyAddresses({ updates: addresses, removed: [] });
  return { ...empty, source: 'file' in staticConfig ? staticConfig.file : 'inline' };
}

function toEndpoint({ address, roots, alternativeHostname, token, headers }: ServerConfig): GrpcEndpoint {
  return { address, roots, token, headers, ...(alternativeHostname === undefined ? {} : { alternativeHostname }) };
}

/** Both the client and the cache are released with `resources`. */
export function startCertificates(
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

export interface TunnelParts {
  readonly config: ZtunnelConfig;
  readonly state: MeshState;
  readonly certificates: CertificateCache;
  readonly registry: MetricsRegistry;
  readonly log: Logger;
  readonly resources: AsyncDisposableStack;
  readonly onPods: () => void;
  readonly demand: Demand | undefined;
}

/** Listens to nothing yet. Rejects when the revocation lists cannot be read. */
export async function startTunnel({
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
        joinOnNode: !config.alwaysEncrypt,
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
    makeEngine: (handlers) =>
      makeEngine(config, handlers, { revocations: () => (crl ? crl.current : RevocationLists.none), log }),
    lookup: systemLookup(),
    registry,
    clock: systemClock,
    random: Math.random,
    log,
    podsChanged: onPods,
  });
  new Gauge({
    name: 'culvert_engine_info',
    help: 'The engine that moves the bytes (unstable).',
    labelNames: ['engine'],
    registers: [registry],
  }).set({ engine: tunnel.engine.name }, 1);
  recheck = () => tunnel.engine.recheckPeers();
  return tunnel;
}

export interface ControlPlane extends AsyncDisposable {
  /** The first state of every type has been applied. */
  readonly ready: Promise<void>;
  /** Asks for one address; of use only when the subscription is on demand. Absent without a control plane. */
  readonly demand?: Demand;
}

/** Connects in the background; the caller disposes. Without an address there is none, and all is ready. */
export function startControlPlane(parts: Omit<TunnelParts, 'resources' | 'onPods' | 'demand'>): ControlPlane {
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

export function readIfExists(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

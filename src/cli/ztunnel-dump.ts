/** The tunnel's settings and version as the config dump shows them: the names of Istio's tunnel, no secrets. */
import type { EngineName } from '../engine/index.ts';
import type { Json } from '../ztunnel/index.ts';
import type { ServerConfig, ZtunnelConfig } from './ztunnel-config.ts';

export function dumpConfig(config: ZtunnelConfig): Json {
  const { keepalive, ownPod, dedicatedPod } = config;
  const any = config.ipv6 ? '[::]' : '0.0.0.0';
  return {
    adminAddr: { Localhost: [config.ipv6, config.adminPort] },
    altCaHostname: config.ca?.alternativeHostname ?? null,
    altXdsHostname: config.xds?.alternativeHostname ?? null,
    caAddress: config.ca?.address ?? null,
    caRootCert: dumpRoots(config.ca),
    clusterDomain: config.clusterDomain,
    clusterId: config.xds?.headers.clusterid ?? 'Kubernetes',
    connectionWindowSize: config.connectionWindowBytes,
    crlPath: config.crlPath ?? null,
    dnsProxy: config.dns !== undefined,
    dnsProxyAddr: config.dns ? { Localhost: [config.ipv6, config.dns.port] } : null,
    enableEnhancedBaggage: config.responseBaggage,
    frameSize: config.frameSizeBytes,
    illegalPorts: [15_006, 15_001, 15_008],
    inboundAddr: `${any}:15008`,
    inboundPlaintextAddr: `${any}:15006`,
    inpodPortReuse: config.reusePort,
    inpodUds: config.inpodSocket,
    ipv6Enabled: config.ipv6,
    localNode: config.nodeName ?? null,
    localhostAppTunnel: config.localhostAppTunnel,
    network: config.network,
    outboundAddr: `${any}:15001`,
    packetMark: config.mark ?? null,
    poolMaxStreamsPerConn: config.maxStreamsPerSession,
    poolUnusedReleaseTimeout: duration(config.poolIdleTimeoutMs),
    preferedServiceNamespace: config.preferredServiceNamespace ?? null,
    proxy: config.proxyEnabled,
    proxyMode: config.mode === 'shared' ? 'Shared' : 'Dedicated',
    proxyWorkloadInformation: dedicatedPod ? { ...dedicatedPod } : null,
    readinessAddr: { SocketAddr: `${any}:${config.readinessPort}` },
    requireOriginalSource: config.preserveSource ? null : false,
    secretTtl: duration(config.secretTtlSeconds * 1_000),
    selfTerminationDeadline: duration(config.drainMs),
    socketConfig: {
      keepaliveEnabled: keepalive !== undefined,
      keepaliveInterval: duration(keepalive?.intervalMs ?? 0),
      keepaliveRetries: keepalive?.retries ?? 0,
      keepaliveTime: duration(keepalive?.timeMs ?? 0),
      userTimeoutEnabled: config.userTimeout,
    },
    statsAddr: { SocketAddr: `${any}:${config.statsPort}` },
    windowSize: config.streamWindowBytes,
    xdsAddress: config.xds?.address ?? null,
    xdsOnDemand: config.xdsOnDemand,
    xdsRootCert: dumpRoots(config.xds),
    ztunnelIdentity: ownPod
      ? `spiffe://${config.trustDomain}/ns/${ownPod.namespace}/sa/${ownPod.serviceAccount}`
      : null,
    ztunnelWorkload: ownPod ? { ...ownPod } : null,
  };
}

export function dumpVersion(config: ZtunnelConfig, engine: EngineName): Json {
  return {
    buildProfile: 'release',
    buildStatus: 'Clean',
    cryptoProvider: `openssl-${process.versions.openssl}`,
    engine,
    gitRevision: 'unknown',
    istioVersion: config.version,
    nodeVersion: process.versions.node,
    version: '0.1.0',
  };
}

function dumpRoots(server: ServerConfig | undefined): Json {
  if (!server?.roots) return 'Default';
  return 'file' in server.roots ? { File: server.roots.file } : 'Static';
}

function duration(ms: number): Json {
  return { secs: Math.floor(ms / 1_000), nanos: (ms % 1_000) * 1_000_000 };
}

/**
 * The traffic policy of a DestinationRule as a waypoint applies it.
 * Source: Istio TrafficPolicy: settings of a port stand instead of the rule's, those of a subset over them.
 */
import {
  type ConnectionPool,
  DEFAULT_CONNECTION_POOL,
  DEFAULT_TRAFFIC_POLICY,
  type HashKey,
  type LoadBalancer,
  type LocalityPolicy,
  type OutlierDetection,
  type TrafficPolicy,
  type UpstreamTls,
} from '../../../../model/l7/index.ts';
import type { TrafficPolicySpec, TrafficSettingsSpec } from '../../../../schema/index.ts';
import { durationMs } from '../http-route.ts';

/** Certificates by the name of their Secret; undefined when there is none. */
export interface Credentials {
  readonly caCertificates: string;
  readonly certificate: string;
  readonly privateKey: string;
}

export interface PolicyContext {
  readonly findCredentials: (name: string) => Credentials | undefined;
  /** Hears what is wrong. */
  readonly report: (problem: string) => void;
}

/** What is said for one port: the rule's policy, the port's own in its place, a subset's over both. */
export function policyFor(
  port: number,
  { rule, subset }: { readonly rule: TrafficPolicySpec | undefined; readonly subset?: TrafficPolicySpec | undefined },
  context: PolicyContext,
): TrafficPolicy {
  const ofRule = atPort(rule, port);
  const settings = subset ? { ...ofRule, ...given(atPort(subset, port)) } : ofRule;
  const whole = { ...rule, ...given(subset ?? {}) };
  if (whole.tunnel) context.report('tunnel: a waypoint opens no tunnels through other proxies');
  for (const field of notHonoured(settings)) context.report(`${field}: is not honoured at a waypoint`);
  const loadBalancer = toLoadBalancer(settings.loadBalancer);
  const tls = toTls(settings.tls, context);
  const outlierDetection = settings.outlierDetection && toOutlierDetection(settings.outlierDetection);
  const { retryBudget, proxyProtocol } = whole;
  return {
    ...DEFAULT_TRAFFIC_POLICY,
    loadBalancer,
    connectionPool: toConnectionPool(settings.connectionPool),
    ...(outlierDetection ? { outlierDetection } : {}),
    ...(tls ? { tls } : {}),
    proxyProtocol: proxyProtocol ? (proxyProtocol.version ?? 'V1') : 'NONE',
    ...(retryBudget
      ? { retryBudget: { percent: retryBudget.percent ?? 20, minConcurrency: retryBudget.minRetryConcurrency ?? 3 } }
      : {}),
  };
}

function atPort(policy: TrafficPolicySpec | undefined, port: number): TrafficSettingsSpec {
  const own = policy?.portLevelSettings?.find((one) => one.port?.number === port);
  const { loadBalancer, connectionPool, outlierDetection, tls } = own ?? policy ?? {};
  return { loadBalancer, connectionPool, outlierDetection, tls };
}

/** Fields that are said and have no effect. */
function notHonoured({ loadBalancer, connectionPool }: TrafficSettingsSpec): readonly string[] {
  const { localityLbSetting, consistentHash } = loadBalancer ?? {};
  const { tcpKeepalive, maxConnectionDuration, idleTimeout } = connectionPool?.tcp ?? {};
  const said: Readonly<Record<string, boolean>> = {
    'loadBalancer.localityLbSetting': localityLbSetting !== undefined && localityLbSetting.enabled !== false,
    'loadBalancer.consistentHash.httpCookie.attributes': (consistentHash?.httpCookie?.attributes?.length ?? 0) > 0,
    'connectionPool.tcp.tcpKeepalive': tcpKeepalive !== undefined,
    'connectionPool.tcp.maxConnectionDuration': maxConnectionDuration !== undefined,
    'connectionPool.tcp.idleTimeout': idleTimeout !== undefined && connectionPool?.http?.idleTimeout !== undefined,
  };
  return Object.keys(said).filter((field) => said[field]);
}

/** Without what is not given. */
function given<T extends object>(settings: T): Partial<T> {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as Partial<T>;
}

const ALGORITHMS: Readonly<Record<string, LoadBalancer['algorithm']>> = {
  RANDOM: 'RANDOM',
  PASSTHROUGH: 'PASSTHROUGH',
  ROUND_ROBIN: 'ROUND_ROBIN',
};

function toLoadBalancer(spec: TrafficSettingsSpec['loadBalancer']): LoadBalancer {
  if (!spec) return DEFAULT_TRAFFIC_POLICY.loadBalancer;
  const { consistentHash, simple, warmup, warmupDurationSecs, localityLbSetting } = spec;
  const slowStart = warmup
    ? {
        windowMs: durationMs(warmup.duration),
        aggression: warmup.aggression ?? 1,
        minPercent: warmup.minimumPercent ?? 10,
      }
    : warmupDurationSecs
      ? { windowMs: durationMs(warmupDurationSecs), aggression: 1, minPercent: 10 }
      : undefined;
  const locality =
    localityLbSetting?.enabled === false ? undefined : localityLbSetting && toLocality(localityLbSetting);
  return {
    algorithm: consistentHash
      ? consistentHash.maglev
        ? 'MAGLEV'
        : 'RING_HASH'
      : (ALGORITHMS[simple ?? ''] ?? 'LEAST_REQUEST'),
    hash: consistentHash ? toHash(consistentHash) : [],
    tableSize:
      consistentHash?.maglev?.tableSize ??
      consistentHash?.ringHash?.minimumRingSize ??
      consistentHash?.minimumRingSize ??
      0,
    ...(slowStart ? { slowStart } : {}),
    ...(locality ? { locality } : {}),
  };
}

type ConsistentHash = NonNullable<NonNullable<TrafficSettingsSpec['loadBalancer']>['consistentHash']>;

function toHash(hash: ConsistentHash): readonly HashKey[] {
  const { httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName } = hash;
  if (httpHeaderName) return [{ kind: 'HEADER', name: httpHeaderName.toLowerCase(), cookiePath: '' }];
  if (httpCookie) {
    const { name, path, ttl } = httpCookie;
    const life = ttl === undefined ? {} : { cookieTtlMs: durationMs(ttl) };
    return [{ kind: 'COOKIE', name, ...life, cookiePath: path ?? '' }];
  }
  if (httpQueryParameterName) return [{ kind: 'QUERY', name: httpQueryParameterName, cookiePath: '' }];
  return useSourceIp ? [{ kind: 'SOURCE_IP', name: '', cookiePath: '' }] : [];
}

type LocalitySetting = NonNullable<NonNullable<TrafficSettingsSpec['loadBalancer']>['localityLbSetting']>;

function toLocality({ distribute = [], failover = [], failoverPriority = [] }: LocalitySetting): LocalityPolicy {
  return {
    distribute: distribute.map(({ from = '*', to = {} }) => ({
      from,
      to: Object.entries(to).map(([locality, weight]) => ({ locality, weight })),
    })),
    failover: failover.map(({ from = '', to = '' }) => ({ from, to })),
    failoverPriority,
  };
}

function toConnectionPool({
  tcp = {},
  http = {},
}: NonNullable<TrafficSettingsSpec['connectionPool']> = {}): ConnectionPool {
  const base = DEFAULT_CONNECTION_POOL;
  const orDefault = (text: string | undefined, fallback: number): number =>
    text === undefined ? fallback : durationMs(text);
  return {
    maxConnections: tcp.maxConnections ?? base.maxConnections,
    connectTimeoutMs: orDefault(tcp.connectTimeout, base.connectTimeoutMs),
    tcpIdleTimeoutMs: orDefault(tcp.idleTimeout, base.tcpIdleTimeoutMs),
    maxConnectionDurationMs: orDefault(tcp.maxConnectionDuration, base.maxConnectionDurationMs),
    maxPendingRequests: http.http1MaxPendingRequests ?? base.maxPendingRequests,
    maxRequests: http.http2MaxRequests ?? base.maxRequests,
    maxRequestsPerConnection: http.maxRequestsPerConnection ?? base.maxRequestsPerConnection,
    maxRetries: http.maxRetries ?? base.maxRetries,
    httpIdleTimeoutMs: orDefault(http.idleTimeout ?? tcp.idleTimeout, base.httpIdleTimeoutMs),
    maxConcurrentStreams: http.maxConcurrentStreams ?? base.maxConcurrentStreams,
    upgrade: http.h2UpgradePolicy === 'UPGRADE' ? 'HTTP2' : http.useClientProtocol ? 'CLIENT' : 'DEFAULT',
  };
}

function toOutlierDetection(spec: NonNullable<TrafficSettingsSpec['outlierDetection']>): OutlierDetection {
  const splitLocalOrigin = spec.splitExternalLocalOriginErrors ?? false;
  return {
    consecutive5xx: spec.consecutive5xxErrors ?? 5,
    consecutiveGatewayErrors: spec.consecutiveGatewayErrors ?? spec.consecutiveErrors ?? 0,
    consecutiveLocalOriginFailures: spec.consecutiveLocalOriginFailures ?? (splitLocalOrigin ? 5 : 0),
    splitLocalOrigin,
    intervalMs: spec.interval === undefined ? 10_000 : durationMs(spec.interval),
    baseEjectionMs: spec.baseEjectionTime === undefined ? 30_000 : durationMs(spec.baseEjectionTime),
    maxEjectionPercent: spec.maxEjectionPercent || 10,
    minHealthPercent: spec.minHealthPercent ?? 0,
  };
}

/** No certificate will ever do: what cannot be verified as asked is not trusted without. */
export const TRUST_NOBODY = 'none';

function toTls(spec: TrafficSettingsSpec['tls'], { findCredentials, report }: PolicyContext): UpstreamTls | undefined {
  const { mode = 'DISABLE', credentialName, sni = '', subjectAltNames = [], insecureSkipVerify } = spec ?? {};
  if (mode !== 'SIMPLE' && mode !== 'MUTUAL') return undefined;
  const found = credentialName === undefined ? undefined : findCredentials(credentialName);
  const files = [spec?.clientCertificate, spec?.privateKey, spec?.caCertificates].filter(
    (one) => one && one !== 'system',
  );
  if (credentialName !== undefined && !found)
    report(`tls.credentialName: no Secret ${credentialName} in the waypoint's namespace`);
  if (files.length > 0) report('tls: files of a proxy are not read at a waypoint; use credentialName');
  if (spec?.caCrl) report('tls.caCrl: is not read; nothing is trusted');
  const isUntrusted = (credentialName !== undefined && !found) || files.length > 0 || Boolean(spec?.caCrl);
  return {
    mode,
    sni,
    subjectAltNames,
    caCertificates: isUntrusted ? TRUST_NOBODY : (found?.caCertificates ?? ''),
    clientCertificate: mode === 'MUTUAL' ? (found?.certificate ?? '') : '',
    privateKey: mode === 'MUTUAL' ? (found?.privateKey ?? '') : '',
    insecureSkipVerify: isUntrusted ? false : (insecureSkipVerify ?? false),
  };
}

/**
 * How a cluster is talked to: load balancing, limits, ejection, TLS. A value that is absent has Istio's default.
 * Source: Istio DestinationRule, Gateway API BackendTLSPolicy.
 */

export interface TrafficPolicy {
  readonly loadBalancer: LoadBalancer;
  readonly connectionPool: ConnectionPool;
  readonly outlierDetection?: OutlierDetection;
  /** TLS inside the tunnel, or towards an endpoint outside the mesh. */
  readonly tls?: UpstreamTls;
  /** PROXY protocol before the first byte. */
  readonly proxyProtocol: 'NONE' | 'V1' | 'V2';
  readonly retryBudget?: RetryBudget;
}

export interface LoadBalancer {
  readonly algorithm: 'LEAST_REQUEST' | 'ROUND_ROBIN' | 'RANDOM' | 'RING_HASH' | 'MAGLEV' | 'PASSTHROUGH';
  /** What consistent hashing hashes: the first that the request has. */
  readonly hash: readonly HashKey[];
  /** Points on the ring at least; entries of the Maglev table. 0: the default (1024, 65537). */
  readonly tableSize: number;
  readonly slowStart?: SlowStart;
  readonly locality?: LocalityPolicy;
}

export interface HashKey {
  readonly kind: 'HEADER' | 'COOKIE' | 'QUERY' | 'SOURCE_IP';
  readonly name: string;
  /** Cookies: absent ones are made, with this life (0: of the browser session) and path. Absent: not made. */
  readonly cookieTtlMs?: number;
  readonly cookiePath: string;
}

/** A new endpoint's share grows from `minPercent` over `windowMs`. */
export interface SlowStart {
  readonly windowMs: number;
  readonly aggression: number;
  readonly minPercent: number;
}

export interface LocalityPolicy {
  /** Shares by locality (`region/zone/subzone`, `*` at the end) of the waypoint. */
  readonly distribute: readonly {
    readonly from: string;
    readonly to: readonly { readonly locality: string; readonly weight: number }[];
  }[];
  readonly failover: readonly { readonly from: string; readonly to: string }[];
  /** Labels (`key` or `key=value`) in order; endpoints that agree with the waypoint in more of them come first. */
  readonly failoverPriority: readonly string[];
}

/** 0 in a maximum: unlimited. */
export interface ConnectionPool {
  readonly maxConnections: number;
  readonly connectTimeoutMs: number;
  readonly tcpIdleTimeoutMs: number;
  readonly maxConnectionDurationMs: number;
  readonly maxPendingRequests: number;
  readonly maxRequests: number;
  readonly maxRequestsPerConnection: number;
  readonly maxRetries: number;
  readonly httpIdleTimeoutMs: number;
  readonly maxConcurrentStreams: number;
  /** HTTP/2 to endpoints whose port does not say so. `CLIENT`: the protocol that the client used. */
  readonly upgrade: 'DEFAULT' | 'HTTP2' | 'CLIENT';
}

export interface OutlierDetection {
  /** 0: off. */
  readonly consecutive5xx: number;
  readonly consecutiveGatewayErrors: number;
  readonly consecutiveLocalOriginFailures: number;
  /** Own failures to connect are counted apart from the endpoint's answers. */
  readonly splitLocalOrigin: boolean;
  readonly intervalMs: number;
  readonly baseEjectionMs: number;
  readonly maxEjectionPercent: number;
  /** Below this share of healthy endpoints nothing is ejected. */
  readonly minHealthPercent: number;
}

export interface UpstreamTls {
  readonly mode: 'SIMPLE' | 'MUTUAL';
  /** Empty: the host of the request or of the cluster. */
  readonly sni: string;
  /** Names of which the server's certificate must have one; empty: `sni`. */
  readonly subjectAltNames: readonly string[];
  /** PEM; empty: the system's roots. */
  readonly caCertificates: string;
  readonly clientCertificate: string;
  readonly privateKey: string;
  readonly insecureSkipVerify: boolean;
}

export interface RetryBudget {
  readonly percent: number;
  readonly minConcurrency: number;
}

export const DEFAULT_CONNECTION_POOL: ConnectionPool = {
  maxConnections: 0,
  connectTimeoutMs: 10_000,
  tcpIdleTimeoutMs: 3_600_000,
  maxConnectionDurationMs: 0,
  maxPendingRequests: 0,
  maxRequests: 0,
  maxRequestsPerConnection: 0,
  maxRetries: 0,
  httpIdleTimeoutMs: 3_600_000,
  maxConcurrentStreams: 0,
  upgrade: 'DEFAULT',
};

export const DEFAULT_TRAFFIC_POLICY: TrafficPolicy = {
  loadBalancer: { algorithm: 'LEAST_REQUEST', hash: [], tableSize: 0 },
  connectionPool: DEFAULT_CONNECTION_POOL,
  proxyProtocol: 'NONE',
};

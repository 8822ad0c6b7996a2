/** Empty values of the vocabulary, for translators and tests to start from. */
import type { BoundService, GatewayConfig } from './gateway.ts';
import type { HeaderModifier, HttpMatch, HttpRoute, WeightedBackend } from './http-route.ts';
import type { TelemetrySettings } from './telemetry.ts';
import type { TextMatch } from './text-match.ts';

export const NO_HEADERS: HeaderModifier = { set: [], add: [], remove: [] };
export const ANY_REQUEST: HttpMatch = { headers: [], query: [] };

export const DEFAULT_TELEMETRY: TelemetrySettings = {
  accessLogs: [],
  metrics: { overrides: [], reportingIntervalMs: 5_000, perEndpoint: false },
};

export function exactly(value: string): TextMatch {
  return { kind: 'EXACT', value, ignoreCase: false };
}

export function toBackend(
  backend: Pick<WeightedBackend, 'cluster' | 'port'> & Partial<WeightedBackend>,
): WeightedBackend {
  return {
    subset: '',
    weight: 1,
    failStatus: 0,
    requestHeaders: NO_HEADERS,
    responseHeaders: NO_HEADERS,
    ...backend,
  };
}

/** A route with nothing but its match and action. */
export function toRoute(route: Pick<HttpRoute, 'name' | 'action'> & Partial<HttpRoute>): HttpRoute {
  return {
    match: ANY_REQUEST,
    requestHeaders: NO_HEADERS,
    responseHeaders: NO_HEADERS,
    mirrors: [],
    timeoutMs: 0,
    rateLimits: [],
    ...route,
  };
}

export function toBoundService(
  service: Pick<BoundService, 'namespace' | 'name' | 'hostname'> & Partial<BoundService>,
): BoundService {
  return { addresses: [], ports: [], policies: [], authentications: [], rateLimits: [], ...service };
}

export function toGatewayConfig(
  gateway: Pick<GatewayConfig, 'namespace' | 'name'> & Partial<GatewayConfig>,
): GatewayConfig {
  return {
    kind: 'WAYPOINT',
    trustDomain: 'cluster.local',
    trustDomainAliases: [],
    clusterDomain: 'cluster.local',
    network: '',
    clusterId: 'Kubernetes',
    xfccIncludesClient: false,
    trustedProxies: 0,
    pathNormalization: 'BASE',
    policies: [],
    authentications: [],
    rateLimits: [],
    telemetry: DEFAULT_TELEMETRY,
    authorizationProviders: [],
    listeners: [],
    ...gateway,
  };
}

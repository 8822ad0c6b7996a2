/**
 * Configuration of a waypoint from its environment. Names are those of Istio's proxies and of the node tunnel, so that the
 * same pod templates fit. Every problem is reported together.
 */
import { availableParallelism } from 'node:os';
import {
  asBoolean,
  asDurationMs,
  asPort,
  asPositiveInt,
  asString,
  ConfigReader,
  type Env,
  type Parse,
} from '../core/config-reader.ts';
import type { GrpcEndpoint, TextSource } from '../core/grpc-endpoint.ts';
import { LogFilter } from '../core/log-filter.ts';
import type { LogFormat } from '../core/log-writer.ts';
import type { Identity } from '../model/identity.ts';
import { canonicalIp } from '../model/ip.ts';
import { ADMIN_PORT, READINESS_PORT, STATS_PORT } from '../model/ports.ts';

export interface WaypointConfig {
  /** Name of the Gateway in the pod's namespace. */
  readonly gateway: string;
  readonly podName: string;
  readonly identity: Identity;
  readonly instanceIp: string;
  readonly nodeName: string;
  readonly controlPlane: GrpcEndpoint;
  readonly secretTtlSeconds: number;
  readonly ipv6: boolean;
  /** Processes that share the port. */
  readonly workers: number;
  /** Tunnels are still accepted for so long after the end was asked for: clients hear of it later than we do. */
  readonly lingerMs: number;
  /** How long open connections may then go on. */
  readonly drainMs: number;
  readonly logFilter: string;
  readonly logFormat: LogFormat;
  readonly adminPort: number;
  readonly statsPort: number;
  readonly readinessPort: number;
}

const DEFAULT_ROOTS = '/var/run/secrets/istio/root-cert.pem';
const DEFAULT_TOKEN = '/var/run/secrets/tokens/istio-token';
const DEFAULT_CONTROL_PLANE = 'https://istiod.istio-system.svc:15012';

/** Throws ERR_CONFIG. `exists` tells files from texts. */
export function parseWaypointConfig(env: Env, exists: (path: string) => boolean): WaypointConfig {
  const read = new ConfigReader(env);
  const clusterId = read.optional('CLUSTER_ID', asString, 'Kubernetes');
  const address = read.optional('XDS_ADDRESS', asString, DEFAULT_CONTROL_PLANE);
  const source = (text: string): TextSource => (exists(text) ? { file: text } : { text });
  const roots = read.optional('XDS_ROOT_CA', asString, DEFAULT_ROOTS);
  const token = read.optional('AUTH_TOKEN', asString, DEFAULT_TOKEN);
  return read.done({
    gateway: read.required('GATEWAY_NAME', asString),
    podName: read.required('POD_NAME', asString),
    identity: {
      trustDomain: read.optional('TRUST_DOMAIN', asString, 'cluster.local'),
      namespace: read.required('POD_NAMESPACE', asString),
      serviceAccount: read.required('SERVICE_ACCOUNT', asString),
    },
    instanceIp: read.optional('INSTANCE_IP', asIp, '1.1.1.1'),
    nodeName: read.optional('NODE_NAME', asString, ''),
    controlPlane: {
      address: address.includes('://') ? address : `https://${address}`,
      roots: roots === 'SYSTEM' ? undefined : roots === DEFAULT_ROOTS ? { file: roots } : source(roots),
      token: token === DEFAULT_TOKEN ? { file: token } : source(token),
      headers: { clusterid: clusterId },
    },
    secretTtlSeconds: Math.round(read.optional('SECRET_TTL', asDurationMs, 24 * 3_600_000) / 1_000),
    ipv6: read.optional('IPV6_ENABLED', asBoolean, true),
    workers: read.optional('CONCURRENCY', asPositiveInt, availableParallelism()),
    lingerMs: read.optional('DRAIN_LINGER', asDurationMs, 2_000),
    drainMs: read.optional('CONNECTION_TERMINATION_DEADLINE', asDurationMs, 5_000),
    logFilter: read.optional('RUST_LOG', asLogFilter, 'info'),
    logFormat: read.optional('LOG_FORMAT', asLogFormat, 'plain'),
    adminPort: read.optional('ADMIN_PORT', asPort, ADMIN_PORT),
    statsPort: read.optional('STATS_PORT', asPort, STATS_PORT),
    readinessPort: read.optional('READINESS_PORT', asPort, READINESS_PORT),
  });
}

const asIp: Parse<string> = (text) => {
  const ip = canonicalIp(text);
  if (ip === undefined) throw new Error('expected an IP address');
  return ip;
};

const asLogFilter: Parse<string> = (text) => {
  new LogFilter(text); // throws when it is none
  return text;
};

const asLogFormat: Parse<LogFormat> = (text) => {
  if (text === 'plain' || text === 'json') return text;
  throw new Error('expected plain or json');
};

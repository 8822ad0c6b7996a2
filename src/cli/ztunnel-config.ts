/**
 * Configuration of the node tunnel from its environment, by the names of Istio's tunnel. Every problem is reported
 * together. Source: Istio ztunnel configuration; `PROXY_CONFIG` is merged over the mesh config file's defaultConfig.
 */
import { createRequire } from 'node:module';
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
import { errorMessage } from '../core/errors.ts';
import type { TextSource } from '../core/grpc-endpoint.ts';
import { LogFilter } from '../core/log-filter.ts';
import type { LogFormat } from '../core/log-writer.ts';
import type { EngineChoice } from '../engine/index.ts';
import type { IpPort } from '../model/address.ts';
import { canonicalIp, parseIpPort } from '../model/ip.ts';
import { ADMIN_PORT, DNS_PORT, READINESS_PORT, STATS_PORT, TUNNEL_MARK } from '../model/ports.ts';

export interface ServerConfig {
  readonly address: string;
  readonly roots: TextSource | undefined;
  readonly alternativeHostname: string | undefined;
  readonly token: TextSource | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

export interface PodConfig {
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
}

export interface ZtunnelConfig {
  readonly mode: 'shared' | 'dedicated';
  /** Which engine moves the bytes. */
  readonly engine: EngineChoice;
  /** Two pods of this node talk by HBONE, too. */
  readonly alwaysEncrypt: boolean;
  /** Threads of the native engine. */
  readonly engineThreads: number;
  readonly proxyEnabled: boolean;
  /** Set in dedicated mode. */
  readonly dedicatedPod: PodConfig | undefined;
  /** The tunnel's own pod; set when all of it is known. */
  readonly ownPod: PodConfig | undefined;
  readonly trustDomain: string;
  readonly network: string;
  readonly nodeName: string | undefined;
  readonly nodeId: string;
  readonly nodeMetadata: Readonly<Record<string, unknown>>;
  readonly clusterDomain: string;
  /** Undefined: no control plane. */
  readonly xds: ServerConfig | undefined;
  readonly xdsOnDemand: boolean;
  readonly ca: ServerConfig | undefined;
  readonly staticConfig: TextSource | undefined;
  readonly secretTtlSeconds: number;
  readonly crlPath: string | undefined;
  readonly mark: number | undefined;
  readonly inpodSocket: string;
  readonly reusePort: boolean;
  readonly preserveSource: boolean;
  readonly ipv6: boolean;
  readonly keepalive: { readonly timeMs: number; readonly intervalMs: number; readonly retries: number } | undefined;
  readonly userTimeout: boolean;
  readonly maxStreamsPerSession: number;
  readonly poolIdleTimeoutMs: number;
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  readonly frameSizeBytes: number;
  readonly drainMs: number;
  readonly preferredServiceNamespace: string | undefined;
  readonly localhostAppTunnel: boolean;
  readonly responseBaggage: boolean;
  readonly policyInfoLog: boolean;
  readonly logFilter: string;
  readonly logFormat: LogFormat;
  readonly dns: IpPort | undefined;
  readonly adminPort: number;
  readonly statsPort: number;
  readonly readinessPort: number;
  readonly version: string;
}

/** Files that decide defaults; read by the caller. */
export interface ConfigFiles {
  exists(path: string): boolean;
  /** Text of the mesh config file; undefined when there is none. */
  readonly meshConfig: string | undefined;
}

export const MESH_CONFIG_PATH = './etc/istio/config/mesh';
const DEFAULT_ROOTS = './var/run/secrets/istio/root-cert.pem';
const DEFAULT_TOKEN = './var/run/secrets/tokens/istio-token';
const DEFAULT_SOCKET = '/var/run/ztunnel/ztunnel.sock';
const META_PREFIX = 'ISTIO_META_';
const MIB = 1024 * 1024;
/** More would only add sessions between two pods: each thread has its own. */
const DEFAULT_ENGINE_THREADS = Math.min(availableParallelism(), 4);

interface ProxyConfig {
  readonly discoveryAddress: string | undefined;
  readonly proxyAdminPort: number;
  readonly statsPort: number;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Throws ERR_CONFIG. */
export function parseZtunnelConfig(env: Env, files: ConfigFiles): ZtunnelConfig {
  const read = new ConfigReader(env);
  const proxy = readProxyConfig(read, env, files);
  const { metadata } = proxy;
  const mode = read.optional('PROXY_MODE', asMode, 'shared');
  const text = (name: string): string | undefined => env[name] || undefined;
  const clusterId = metadata.CLUSTER_ID ?? text('CLUSTER_ID') ?? 'Kubernetes';
  const pod = { name: text('POD_NAME'), namespace: text('POD_NAMESPACE'), serviceAccount: text('SERVICE_ACCOUNT') };
  const xdsOnDemand = read.optional('XDS_ON_DEMAND', asBoolean, false);
  const isDnsOn = (metadata.DNS_CAPTURE ?? 'true').toLowerCase() === 'true';
  const proxyEnabled = read.optional('ENABLE_PROXY', asBoolean, true);
  if (xdsOnDemand && isDnsOn) read.problem('XDS_ON_DEMAND: the DNS proxy cannot be used with on-demand discovery');
  if (!proxyEnabled && !isDnsOn) read.problem('ENABLE_PROXY: both the proxy and the DNS proxy are disabled');
  for (const name of ['UNSTABLE_ENABLE_SOCKS5', 'TLS12_ENABLED', 'FAKE_CA']) {
    if (read.optional(name, asBoolean, false)) read.problem(`${name}: not supported`);
  }
  if (text('COMPLIANCE_POLICY') !== undefined) read.problem('COMPLIANCE_POLICY: not supported');
  if (text('LOCAL_XDS') !== undefined && text('LOCAL_XDS_PATH') !== undefined) {
    read.problem('LOCAL_XDS and LOCAL_XDS_PATH exclude each other');
  }
  const server = (kind: 'XDS' | 'CA', address: string | undefined): ServerConfig | undefined =>
    address ? readServer(read, env, { kind, address, clusterId, files }) : undefined;
  const builtIn = `https://${text('KUBERNETES_SERVICE_HOST') ? 'istiod.istio-system.svc' : 'localhost'}:15012`;
  const hasStatic = text('LOCAL_XDS') !== undefined || text('LOCAL_XDS_PATH') !== undefined;
  const xdsAddress = env.XDS_ADDRESS ?? proxy.discoveryAddress ?? (hasStatic ? '' : builtIn);
  return read.done({
    mode,
    proxyEnabled,
    dedicatedPod: mode === 'dedicated' ? read.required('PROXY_WORKLOAD_INFO', asPod) : undefined,
    ownPod: pod.name && pod.namespace && pod.serviceAccount ? (pod as PodConfig) : undefined, // all three are set
    trustDomain: read.optional('TRUST_DOMAIN', asString, 'cluster.local'),
    network: read.optional('NETWORK', asString, ''),
    nodeName: text('NODE_NAME'),
    nodeId: nodeId(env),
    nodeMetadata: nodeMetadata(read, env, metadata),
    clusterDomain: read.optional('CLUSTER_DOMAIN', asString, 'cluster.local').toLowerCase(),
    xds: server('XDS', xdsAddress),
    xdsOnDemand,
    ca: server('CA', env.CA_ADDRESS ?? builtIn),
    staticConfig: staticConfig(text('LOCAL_XDS'), text('LOCAL_XDS_PATH')),
    secretTtlSeconds: Math.round(read.optional('SECRET_TTL', asDurationMs, 24 * 3_600_000) / 1_000),
    crlPath: text('CRL_PATH'),
    mark: read.optional<number | undefined>('PACKET_MARK', asMark, mode === 'shared' ? TUNNEL_MARK : undefined),
    inpodSocket: read.optional('INPOD_UDS', asString, DEFAULT_SOCKET),
    reusePort: read.optional('INPOD_PORT_REUSE', asBoolean, true),
    preserveSource: read.optional('ENABLE_ORIG_SRC', asBoolean, true),
    ipv6: read.optional('IPV6_ENABLED', asBoolean, true),
    keepalive: readKeepalive(read),
    userTimeout: read.optional('USER_TIMEOUT_ENABLED', asBoolean, false),
    maxStreamsPerSession: read.optional('POOL_MAX_STREAMS_PER_CONNECTION', asPositiveInt, 100),
    poolIdleTimeoutMs: read.optional('POOL_UNUSED_RELEASE_TIMEOUT', asDurationMs, 300_000),
    streamWindowBytes: read.optional('HTTP2_STREAM_WINDOW_SIZE', asPositiveInt, 4 * MIB),
    connectionWindowBytes: read.optional('HTTP2_CONNECTION_WINDOW_SIZE', asPositiveInt, 16 * MIB),
    engine: read.optional('CULVERT_ENGINE', asEngine, 'auto'),
    alwaysEncrypt: read.optional('CULVERT_ALWAYS_ENCRYPT', asBoolean, false),
    engineThreads: read.optional('CULVERT_ENGINE_THREADS', asPositiveInt, DEFAULT_ENGINE_THREADS),
    frameSizeBytes: read.optional('HTTP2_FRAME_SIZE', asPositiveInt, MIB),
    drainMs: read.optional('CONNECTION_TERMINATION_DEADLINE', asDurationMs, drainFromGrace(read)),
    preferredServiceNamespace: text('PREFERED_SERVICE_NAMESPACE'),
    localhostAppTunnel: read.optional('LOCALHOST_APP_TUNNEL', asBoolean, true),
    responseBaggage: read.optional('ENABLE_RESPONSE_BAGGAGE', asBoolean, true),
    policyInfoLog: read.optional('AUTHZ_POLICY_INFO_LOGGING', asBoolean, false),
    logFilter: read.optional('RUST_LOG', asLogFilter, 'info'),
    logFormat: read.optional('LOG_FORMAT', asLogFormat, 'plain'),
    dns: isDnsOn ? readDnsAddress(read, metadata.DNS_PROXY_ADDR) : undefined,
    adminPort: proxy.proxyAdminPort,
    statsPort: proxy.statsPort,
    readinessPort: READINESS_PORT,
    version: metadata.ISTIO_VERSION ?? 'unknown',
  });
}

function readProxyConfig(read: ConfigReader, env: Env, { meshConfig }: ConfigFiles): ProxyConfig {
  const fromMesh = asObject(parseYaml(read, 'mesh config', meshConfig).defaultConfig);
  const fromEnv = parseYaml(read, 'PROXY_CONFIG', env.PROXY_CONFIG);
  const merged = { ...fromMesh, ...fromEnv };
  const metadata: Record<string, string> = {};
  for (const source of [fromMesh.proxyMetadata, fromEnv.proxyMetadata, metaFromEnv(env)]) {
    for (const [key, value] of Object.entries(asObject(source))) {
      metadata[key.startsWith(META_PREFIX) ? key.slice(META_PREFIX.length) : key] = String(value);
    }
  }
  const port = (name: string, fallback: number): number => {
    const value = merged[name];
    if (value === undefined) return fallback;
    try {
      return asPort(String(value));
    } catch (error) {
      read.problem(`${name}: ${errorMessage(error)}`);
      return fallback;
    }
  };
  const address = merged.discoveryAddress;
  return {
    discoveryAddress: typeof address === 'string' ? address : undefined,
    proxyAdminPort: port('proxyAdminPort', ADMIN_PORT),
    statsPort: port('statsPort', STATS_PORT),
    metadata,
  };
}

function parseYaml(read: ConfigReader, what: string, text: string | undefined): Readonly<Record<string, unknown>> {
  if (text === undefined || text === '') return {};
  try {
    // loaded when there is something to read: most tunnels have no such text, and every start would pay for it
    const { parse } = createRequire(import.meta.url)('yaml') as typeof import('yaml');
    return asObject(parse(text));
  } catch (error) {
    read.problem(`${what}: ${errorMessage(error)}`);
    return {};
  }
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return value !== null && typeof value === 'object' ? (value as Record<string, unknown>) : {}; // string keys
}

function metaFromEnv(env: Env): Readonly<Record<string, string>> {
  return new ConfigReader(env).prefixed(META_PREFIX);
}

function readServer(
  read: ConfigReader,
  env: Env,
  {
    kind,
    address,
    clusterId,
    files,
  }: {
    readonly kind: 'XDS' | 'CA';
    readonly address: string;
    readonly clusterId: string;
    readonly files: ConfigFiles;
  },
): ServerConfig {
  const roots = env[`${kind}_ROOT_CA`] || DEFAULT_ROOTS;
  const token = env.AUTH_TOKEN || (files.exists(DEFAULT_TOKEN) ? DEFAULT_TOKEN : undefined);
  return {
    address: address.includes('://') ? address : `https://${address}`,
    roots: roots === 'SYSTEM' ? undefined : fileOrText(roots, files, roots === DEFAULT_ROOTS),
    alternativeHostname: env[`ALT_${kind}_HOSTNAME`] || undefined,
    token: token === undefined ? undefined : fileOrText(token, files, false),
    headers: { clusterid: clusterId, ...read.prefixed(`${kind}_HEADER_`) },
  };
}

function fileOrText(value: string, files: ConfigFiles, isFile: boolean): TextSource {
  return isFile || files.exists(value) ? { file: value } : { text: value };
}

function staticConfig(text: string | undefined, path: string | undefined): TextSource | undefined {
  if (path !== undefined) return { file: path };
  return text === undefined ? undefined : { text };
}

function readKeepalive(read: ConfigReader): ZtunnelConfig['keepalive'] {
  const settings = {
    timeMs: read.optional('KEEPALIVE_TIME', asDurationMs, 180_000),
    intervalMs: read.optional('KEEPALIVE_INTERVAL', asDurationMs, 180_000),
    retries: read.optional('KEEPALIVE_RETRIES', asPositiveInt, 9),
  };
  return read.optional('KEEPALIVE_ENABLED', asBoolean, true) ? settings : undefined;
}

/** Leaves the process some of its grace period to end in. */
function drainFromGrace(read: ConfigReader): number {
  const graceS = read.optional('TERMINATION_GRACE_PERIOD_SECONDS', asPositiveInt, 0);
  if (graceS === 0) return 5_000;
  return Math.max(1, graceS > 10 ? graceS - 5 : graceS - 1) * 1_000;
}

function readDnsAddress(read: ConfigReader, text: string | undefined): IpPort {
  const address = parseIpPort((text ?? `127.0.0.1:${DNS_PORT}`).replace(/^localhost:/, '127.0.0.1:'));
  if (address) return address;
  read.problem(`DNS_PROXY_ADDR=${text}: expected an address with a port`);
  return { ip: '127.0.0.1', port: DNS_PORT };
}

function nodeId(env: Env): string {
  const namespace = env.POD_NAMESPACE ?? '';
  const ip = canonicalIp(env.INSTANCE_IP ?? '') ?? '1.1.1.1';
  return `ztunnel~${ip}~${env.POD_NAME ?? ''}.${namespace}~${namespace}.svc.cluster.local`;
}

function nodeMetadata(
  read: ConfigReader,
  env: Env,
  proxyMetadata: Readonly<Record<string, string>>,
): Readonly<Record<string, unknown>> {
  const json: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(read.prefixed('ISTIO_METAJSON_'))) {
    try {
      json[key] = JSON.parse(value);
    } catch (error) {
      read.problem(`ISTIO_METAJSON_${key}: ${errorMessage(error)}`);
    }
  }
  return {
    NAME: env.POD_NAME ?? '',
    NAMESPACE: env.POD_NAMESPACE ?? '',
    INSTANCE_IPS: env.INSTANCE_IP ?? '1.1.1.1',
    NODE_NAME: env.NODE_NAME ?? '',
    ...proxyMetadata,
    ...json,
  };
}

const asMode: Parse<ZtunnelConfig['mode']> = (text) => {
  const mode = text.toLowerCase();
  if (mode === 'shared' || mode === 'dedicated') return mode;
  throw new Error('expected shared or dedicated');
};

const asEngine: Parse<EngineChoice> = (text) => {
  if (text === 'auto' || text === 'native' || text === 'typescript') return text;
  throw new Error('expected auto, native or typescript');
};

const asPod: Parse<PodConfig> = (text) => {
  const [namespace, name, serviceAccount, ...rest] = text.split('/');
  if (!namespace || !name || !serviceAccount || rest.length > 0) {
    throw new Error('expected namespace/name/serviceaccount');
  }
  return { namespace, name, serviceAccount };
};

const asMark: Parse<number> = (text) => {
  const mark = Number(text);
  if (!Number.isInteger(mark) || mark < 1 || mark > 0xffff_ffff) throw new Error('expected a packet mark');
  return mark;
};

const asLogFilter: Parse<string> = (text) => {
  new LogFilter(text);
  return text;
};

const asLogFormat: Parse<LogFormat> = (text) => {
  if (text === 'plain' || text === 'json') return text;
  throw new Error('expected plain or json');
};

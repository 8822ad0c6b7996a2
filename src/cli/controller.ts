/**
 * `culvert controller`: the control plane over a directory of resources or an API server.
 *
 * Environment
 *  - RESOURCE_DIR: the directory of YAML. Without it: the API server of KUBECONFIG, else of the own cluster.
 *  - CA_DIR: keeps the certificate authority; a self-made one leaves its root in `root-cert.pem` there. Required with
 *    RESOURCE_DIR; else the Secret `istio-ca-secret` keeps it (`cacerts` with USE_CACERTS_FOR_SELF_SIGNED_CA).
 *  - EXTERNAL_CA, K8S_SIGNER, CERT_SIGNER_DOMAIN: a signer of the cluster signs, as in Istio; its root is
 *    `root-cert.pem` in EXTERNAL_CA_CERT_DIR (`/etc/external-ca-cert`), else the cluster's own.
 *  - TOKENS_FILE: static tokens, see `StaticTokens`. Required with RESOURCE_DIR; else the API server reviews tokens.
 *    TOKEN_AUDIENCES: what they must be good for, default `istio-ca`.
 *  - CACERTS_DIR: the operator's authority, default `/etc/cacerts`, watched; ISTIO_MULTIROOT_MESH: its roots may change. ROOT_CERT_FILE: where to write the root
 *    certificates besides.
 *  - LISTEN_HOST (default `::`), LISTEN_PORT (15012), METRICS_PORT (15014), READY_PORT (8080); 0 takes any free port,
 *    PORTS_FILE tells which, as JSON, once ready.
 *  - SERVER_NAMES: more names and addresses for the serving certificate, separated by commas.
 *  - CLUSTER_ID, CLUSTER_DOMAIN, TRUST_DOMAIN, POD_NAMESPACE (root namespace), REVISION, CA_TRUSTED_NODE_ACCOUNTS,
 *    AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY, PILOT_AUTO_ALLOW_WAYPOINT_POLICY: as in Istio.
 *    LOG_FILTER (`info`), LOG_FORMAT (plain or json).
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import {
  ALWAYS_LEADING,
  type ControllerOptions,
  DEFAULT_MESH_SETTINGS,
  LeaderElection,
  type Leadership,
  OWN_CONDITION_TYPES,
  StaticTokens,
  startController,
  TokenReviews,
} from '../controller/index.ts';
import { asBoolean, asPort, asString, ConfigReader, type Env } from '../core/config-reader.ts';
import { errorMessage } from '../core/errors.ts';
import { fileSink, LogWriter } from '../core/log-writer.ts';
import type { Logger } from '../core/logger.ts';
import { systemClock } from '../core/system-clock.ts';
import type { Authenticator } from '../model/caller.ts';
import { canonicalIp } from '../model/ip.ts';
import { CONTROL_PLANE_PORT } from '../model/ports.ts';
import { type AuthorityConfig, openAuthority, readAuthorityConfig } from './controller-authority.ts';
import { type KubeProvider, openProvider, type ProviderConfig, readProviderConfig } from './kube-provider.ts';

export interface ControllerConfig extends ControllerOptions {
  readonly provider: ProviderConfig;
  readonly authority: AuthorityConfig;
  /** Undefined: tokens are reviewed by the API server. */
  readonly tokensFile: string | undefined;
  readonly tokenAudiences: readonly string[];
  readonly portsFile: string;
  readonly logFilter: string;
  readonly logFormat: 'plain' | 'json';
}

const DEFAULT_METRICS_PORT = 15_014;
const DEFAULT_READY_PORT = 8_080;

/** Throws ERR_CONFIG with every problem. */
export function parseControllerConfig(env: Env): ControllerConfig {
  const read = new ConfigReader(env);
  const defaults = DEFAULT_MESH_SETTINGS;
  const rootNamespace = read.optional('POD_NAMESPACE', asString, defaults.rootNamespace);
  const serverNames = read.optional('SERVER_NAMES', asList, []);
  const provider = readProviderConfig(read, env);
  return read.done({
    provider,
    authority: readAuthorityConfig(read, provider.kind === 'directory'),
    podName: read.optional('POD_NAME', asString, 'istiod'),
    tokensFile:
      provider.kind === 'directory'
        ? read.required('TOKENS_FILE', asString)
        : read.optional<string | undefined>('TOKENS_FILE', asString, undefined),
    tokenAudiences: read.optional('TOKEN_AUDIENCES', asList, ['istio-ca']),
    rootCertFile: read.optional<string | undefined>('ROOT_CERT_FILE', asString, undefined),
    pluggedCaDir: read.optional('CACERTS_DIR', asString, '/etc/cacerts'),
    multiRoot: read.optional('ISTIO_MULTIROOT_MESH', asBoolean, false),
    host: read.optional('LISTEN_HOST', asString, '::'),
    ports: {
      xds: read.optional('LISTEN_PORT', asPort, CONTROL_PLANE_PORT),
      metrics: read.optional('METRICS_PORT', asPort, DEFAULT_METRICS_PORT),
      ready: read.optional('READY_PORT', asPort, DEFAULT_READY_PORT),
    },
    portsFile: read.optional('PORTS_FILE', asString, ''),
    serverNames: serverNames.filter((name) => canonicalIp(name) === undefined),
    serverIps: serverNames.filter((name) => canonicalIp(name) !== undefined),
    trustedNodeAccounts: new Set(read.optional('CA_TRUSTED_NODE_ACCOUNTS', asList, [`${rootNamespace}/ztunnel`])),
    settings: {
      clusterId: read.optional('CLUSTER_ID', asString, defaults.clusterId),
      clusterDomain: read.optional('CLUSTER_DOMAIN', asString, defaults.clusterDomain),
      trustDomain: read.optional('TRUST_DOMAIN', asString, defaults.trustDomain),
      rootNamespace,
      revision: read.optional('REVISION', asString, defaults.revision),
      autoAllowWaypoints: read.optional('PILOT_AUTO_ALLOW_WAYPOINT_POLICY', asBoolean, false),
      dryRunPolicies: read.optional('AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY', asBoolean, false),
    },
    logFilter: read.optional('LOG_FILTER', asString, 'info'),
    logFormat: read.optional('LOG_FORMAT', asFormat, 'plain'),
  });
}

/** Serves until `signal` aborts. Returns the exit code. */
export async function runController(env: Env, signal: AbortSignal): Promise<number> {
  const config = parseControllerConfig(env);
  const { logger: log } = new LogWriter({ format: config.logFormat, filter: config.logFilter, sink: fileSink(2) });
  try {
    await using provider = await openProvider(config.provider, {
      manager: 'culvert-controller',
      ownConditions: OWN_CONDITION_TYPES,
      log: log.child('kube'),
    });
    const { source, writer } = provider;
    await using election = openElection(config, provider, log.child('leader'));
    await using controller = await startController(config, {
      ...{ source, writer, clock: systemClock, log },
      applyObject: (object) => provider.applyObject(object),
      problems: () => provider.problems(),
      authenticator: makeAuthenticator(config, provider, log.child('auth')),
      authority: await openAuthority(config.authority, provider, config.settings.rootNamespace),
      leadership: election.leadership,
    });
    if (config.portsFile !== '') await writePorts(config.portsFile, controller.ports);
    await aborted(signal);
    log.info('controller stops');
    return 0;
  } catch (error) {
    log.error('controller failed', { error: errorMessage(error) });
    return 1;
  }
}

function makeAuthenticator(config: ControllerConfig, { cluster }: KubeProvider, log: Logger): Authenticator {
  const { trustDomain, clusterId } = config.settings;
  if (config.tokensFile !== undefined)
    return new StaticTokens({ file: config.tokensFile, trustDomain, clusterId, log });
  assert(cluster, 'the configuration requires a token file where there is no API server');
  return new TokenReviews({ review: cluster.review, audiences: config.tokenAudiences, trustDomain, clusterId, log });
}

/** One replica writes at a time; a control plane over a directory is alone. */
function openElection(
  { podName, settings }: ControllerConfig,
  { cluster }: KubeProvider,
  log: Logger,
): AsyncDisposable & { readonly leadership: Leadership } {
  if (!cluster) return { leadership: ALWAYS_LEADING, async [Symbol.asyncDispose]() {} };
  const { rootNamespace, revision } = settings;
  const election = new LeaderElection({
    objects: cluster.objects,
    lease: { namespace: rootNamespace, name: revision === 'default' ? 'istio-leader' : `istio-leader-${revision}` },
    identity: `${podName}_${randomUUID()}`,
    ...{ clock: systemClock, log },
  });
  return { leadership: election, [Symbol.asyncDispose]: () => election[Symbol.asyncDispose]() };
}

async function writePorts(file: string, ports: ControllerOptions['ports']): Promise<void> {
  await writeFile(`${file}.new`, `${JSON.stringify(ports)}\n`);
  await rename(`${file}.new`, file);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function asList(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function asFormat(text: string): 'plain' | 'json' {
  if (text === 'plain' || text === 'json') return text;
  throw new Error('expected plain or json');
}

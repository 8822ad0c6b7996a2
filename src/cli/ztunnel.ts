/**
 * `culvert ztunnel`: the node tunnel as a process.
 *
 * Start order: configuration, readiness, metrics, state and control plane, admin; then, after the first sync, the
 * tunnel's own listener and the node agent. Pods are therefore never announced as served before their policies are known.
 * End: listeners close, connections finish for at most the termination deadline, then everything is released.
 */
import { existsSync } from 'node:fs';
import { bindUdp, closeFd, Netns, SeqpacketSocket } from 'culvert-netns';
import { Counter } from 'prom-client';
import type { Env } from '../core/config-reader.ts';
import { errorMessage, MeshError } from '../core/errors.ts';
import { type HttpListener, serveHttp } from '../core/http-listener.ts';
import { fileSink, LogWriter } from '../core/log-writer.ts';
import type { Logger } from '../core/logger.ts';
import type { MetricsRegistry } from '../core/metrics.ts';
import { serveMetrics } from '../core/metrics-server.ts';
import { systemClock } from '../core/system-clock.ts';
import {
  adminHandler,
  configDump,
  type Json,
  MeshState,
  Readiness,
  runZdsClient,
  serveReadiness,
  type Tunnel,
} from '../ztunnel/index.ts';
import { MESH_CONFIG_PATH, parseZtunnelConfig, type ZtunnelConfig } from './ztunnel-config.ts';
import { dumpConfig, dumpVersion } from './ztunnel-dump.ts';
import {
  buildRegistry,
  loadStatic,
  readIfExists,
  startCertificates,
  startControlPlane,
  startTunnel,
} from './ztunnel-parts.ts';

const STDOUT = 1;

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
      version: dumpVersion(config, tunnel.engine.name),
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
    log.info('ztunnel is up', { mode: config.mode, node: config.nodeName, engine: tunnel.engine.name });
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

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  await Promise.race([promise, aborted(signal)]);
}

/** `culvert cni`: the node agent as a program. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Netns } from 'culvert-netns';
import {
  agentMetrics,
  BackendChoice,
  CAPTURE_CONDITION,
  EbpfBackend,
  findDeparture,
  findPodsCgroup,
  Installer,
  IptablesBackend,
  NftablesBackend,
  PluginLog,
  podUidOf,
  type RedirectBackend,
  type RunCommand,
  runCommand,
  startNodeAgent,
} from '../cni/index.ts';
import type { Env } from '../core/config-reader.ts';
import { errorMessage } from '../core/errors.ts';
import { serveHttp, textAnswer } from '../core/http-listener.ts';
import { fileSink, LogWriter } from '../core/log-writer.ts';
import type { Logger } from '../core/logger.ts';
import { newMetricsRegistry } from '../core/metrics.ts';
import { serveMetrics } from '../core/metrics-server.ts';
import { systemClock } from '../core/system-clock.ts';
import { type CniConfig, parseCniConfig } from './cni-config.ts';
import { type KubeProvider, openProvider } from './kube-provider.ts';

/** Of the agents, by Istio's name. */
const DAEMON_SET = 'istio-cni-node';

/** Runs until `signal` aborts. Resolves with the exit code: 0 after an orderly end, 1 when the agent cannot start. */
export async function runCni(env: Env, signal: AbortSignal): Promise<number> {
  const config = parseCniConfig(env);
  const writer = new LogWriter({ ...config.log, sink: fileSink(1) });
  try {
    await serve(config, writer.logger, signal);
    return 0;
  } catch (error) {
    if (signal.aborted) return 0;
    writer.logger.error('the node agent cannot run', { error: errorMessage(error) });
    return 1;
  } finally {
    writer.flush();
  }
}

async function serve(config: CniConfig, log: Logger, signal: AbortSignal): Promise<void> {
  await using scope = new AsyncDisposableStack();
  const registry = newMetricsRegistry();
  const metrics = agentMetrics(registry);
  const pluginLog = new PluginLog(config.agent.runDir);
  metrics.countRefusals(() => pluginLog.failures());
  const ready = { agent: false, installer: false };
  scope.use(await serveMetrics({ host: '::', port: config.metricsPort }, registry));
  scope.use(await serveHealth(config.healthPort, () => ready.agent && ready.installer));
  const manager = `culvert-cni-${config.agent.nodeName}`;
  const { source, writer, cluster } = scope.use(
    await openProvider(config.provider, { manager, ownConditions: [CAPTURE_CONDITION], log: log.child('watch') }),
  );
  const run = hostCommand(config, scope);
  const backends = scope.use(await BackendChoice.open(makeBackends(config, { run, log }), config.backend, log));
  const deps = {
    ...{ source, writer, backends, metrics, log, clock: systemClock, run },
  };
  const agent = scope.use(
    await startNodeAgent({ ...config.agent, iptablesVariant: config.iptablesVariant }, deps, signal),
  );
  ready.agent = true;
  const installer = scope.use(
    new Installer({
      ...config.install,
      ...{ clock: systemClock, log: log.child('install') },
      onReady(isReady) {
        ready.installer = isReady;
        metrics.installReady(isReady);
      },
      onResult: (outcome) => metrics.installed(outcome),
    }),
  );
  installer.start();
  await stopped(signal);
  if (!config.cleanOnExit && !(await isRemoved(config, cluster, log))) return;
  await installer[Symbol.asyncDispose]();
  await installer.uninstall();
  await agent.uninstall();
}

/** Whether the mesh leaves the cluster, rather than this agent its place to another. */
async function isRemoved({ install }: CniConfig, cluster: KubeProvider['cluster'], log: Logger): Promise<boolean> {
  if (cluster === undefined) return false;
  const key = { namespace: install.plugin.podNamespace, name: DAEMON_SET };
  const ask = () => cluster.readDaemonSet(key);
  return (await findDeparture({ ask, clock: systemClock, log })) === 'removal';
}

/** Programs for the node itself run in its network namespace, which need not be the agent's. */
function hostCommand({ switchToHostNetns, agent }: CniConfig, scope: AsyncDisposableStack): RunCommand {
  if (!switchToHostNetns) return runCommand;
  const host = scope.use(Netns.open(join(agent.procfs.procDir, '1/ns/net')));
  return (netns, command, options) => runCommand(netns ?? host, command, options);
}

/** In order of preference. */
function makeBackends(config: CniConfig, { run, log }: { run: RunCommand; log: Logger }): readonly RedirectBackend[] {
  const { bpfPinDir: pinDir, iptablesVariant: force, agent } = config;
  const podsCgroup = config.podsCgroup ?? discoverPodsCgroup(config);
  if (podsCgroup === undefined) log.info('no cgroup2 folder of pods is found, so eBPF cannot be used');
  const { procDir } = agent.procfs;
  return [
    ...(podsCgroup === undefined ? [] : [new EbpfBackend({ podsCgroup, procDir, pinDir, log: log.child('ebpf') })]),
    new NftablesBackend(run),
    new IptablesBackend({
      run,
      ipv6: agent.defaults.ipv6,
      lockDir: agent.runDir,
      ...(force ? { force } : {}),
    }),
  ];
}

function discoverPodsCgroup({ podUid, hostMountsDir }: CniConfig): string | undefined {
  const uid = podUid ?? podUidOf(readFileSync('/proc/self/cgroup', 'utf8'));
  return uid === undefined ? undefined : findPodsCgroup(uid, `${hostMountsDir}/sys/fs/cgroup`);
}

function serveHealth(port: number, isReady: () => boolean) {
  return serveHttp({ host: '::', port }, ({ path }) => {
    if (path === '/healthz') return textAnswer(200, 'ok\n');
    if (path !== '/readyz') return textAnswer(404, 'not found\n');
    return isReady() ? textAnswer(200, 'ready\n') : textAnswer(503, 'not ready\n');
  });
}

function stopped(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

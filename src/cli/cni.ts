/** `culvert cni`: the node agent as a program. */
import {
  agentMetrics,
  BackendChoice,
  EbpfBackend,
  Installer,
  IptablesBackend,
  NftablesBackend,
  type RedirectBackend,
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
import { openProvider } from './kube-provider.ts';

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
  const ready = { agent: false, installer: false };
  scope.use(await serveMetrics({ host: '::', port: config.metricsPort }, registry));
  scope.use(await serveHealth(config.healthPort, () => ready.agent && ready.installer));
  const manager = `culvert-cni-${config.agent.nodeName}`;
  const { source, writer } = scope.use(
    await openProvider(config.provider, { manager, ownConditions: [], log: log.child('watch') }),
  );
  const backends = scope.use(await BackendChoice.open(makeBackends(config, log), config.backend, log));
  const deps = {
    ...{ source, writer, backends, metrics, log, clock: systemClock, run: runCommand },
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
  if (!config.cleanOnExit) return;
  await installer[Symbol.asyncDispose]();
  await installer.uninstall();
  await agent.uninstall();
}

/** In order of preference. */
function makeBackends(config: CniConfig, log: Logger): readonly RedirectBackend[] {
  const { podsCgroup, bpfPinDir: pinDir, iptablesVariant: force } = config;
  return [
    ...(podsCgroup === undefined ? [] : [new EbpfBackend({ podsCgroup, pinDir, log: log.child('ebpf') })]),
    new NftablesBackend(runCommand),
    new IptablesBackend({
      run: runCommand,
      ipv6: config.agent.defaults.ipv6,
      lockDir: config.agent.runDir,
      ...(force ? { force } : {}),
    }),
  ];
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

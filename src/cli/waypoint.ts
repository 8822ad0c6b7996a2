/** `culvert waypoint`: a replica of a Gateway. See `waypoint-config.ts` for its environment. */
import { existsSync } from 'node:fs';
import type { Env } from '../core/config-reader.ts';
import { errorMessage } from '../core/errors.ts';
import { serveHttp, textAnswer } from '../core/http-listener.ts';
import { fileSink, LogWriter } from '../core/log-writer.ts';
import { metricsContentType, newMetricsRegistry } from '../core/metrics.ts';
import { serveMetrics } from '../core/metrics-server.ts';
import { systemClock } from '../core/system-clock.ts';
import { TokenBuckets } from '../waypoint/index.ts';
import { ParentBuckets } from './parent-buckets.ts';
import { parseWaypointConfig, type WaypointConfig } from './waypoint-config.ts';
import { startWorker, type Worker } from './waypoint-worker.ts';
import { type FromWorker, type ToWorker, WorkerPool } from './waypoint-workers.ts';

const STDOUT = 1;

/** Runs until `signal` aborts, then drains. Resolves with the exit code. */
export async function runWaypoint(env: Env, signal: AbortSignal): Promise<number> {
  return await run(env, signal, (config, logs) =>
    config.workers === 1 ? runAlone(config, logs, signal) : runPool(config, logs, signal),
  );
}

/** One of several: the process that started it serves the ports. */
export async function runWaypointWorker(env: Env, signal: AbortSignal): Promise<number> {
  return await run(env, signal, async (config, logs) => {
    const registry = newMetricsRegistry();
    const buckets = new ParentBuckets(tell);
    await using worker = await startWorker(config, { ...outputs(logs), registry, buckets });
    process.on('message', (message: ToWorker) => {
      buckets.onMessage(message);
      if (message.kind !== 'metrics') return;
      void registry.getMetricsAsJSON().then((metrics) => tell({ kind: 'metrics', id: message.id, metrics }));
    });
    process.once('disconnect', () => process.exit(1)); // without its parent nobody would end it
    await becomeReady(worker, signal, () => tell({ kind: 'ready' }));
    await aborted(signal);
    await worker.drain();
    process.removeAllListeners('disconnect');
  });
}

function tell(message: FromWorker): void {
  if (process.connected) process.send?.(message);
}

async function run(
  env: Env,
  signal: AbortSignal,
  serve: (config: WaypointConfig, logs: LogWriter) => Promise<void>,
): Promise<number> {
  let config: WaypointConfig;
  try {
    config = parseWaypointConfig(env, existsSync);
  } catch (error) {
    process.stderr.write(`waypoint: ${errorMessage(error)}\n`);
    return 1;
  }
  const logs = new LogWriter({ format: config.logFormat, filter: config.logFilter, sink: fileSink(STDOUT) });
  try {
    await serve(config, logs);
    return 0;
  } catch (error) {
    if (signal.aborted) return 0;
    logs.logger.error('waypoint failed', { error: errorMessage(error) });
    return 1;
  } finally {
    logs.flush();
  }
}

function outputs(logs: LogWriter) {
  const access = fileSink(STDOUT);
  return { log: logs.logger, writeAccessLog: (line: string) => access.write(`${line}\n`) };
}

async function runAlone(config: WaypointConfig, logs: LogWriter, signal: AbortSignal): Promise<void> {
  let isReady = false;
  const registry = newMetricsRegistry();
  await using readiness = await serveReadiness(config, () => isReady);
  await using metrics = await serveMetrics({ host: hostOf(config), port: config.statsPort }, registry);
  const buckets = new TokenBuckets(() => systemClock.monotonicMs());
  await using worker = await startWorker(config, { ...outputs(logs), registry, buckets });
  const announce = (): void => {
    isReady = true;
    logs.logger.info('waypoint is up', { gateway: config.gateway, ready: readiness.port, metrics: metrics.port });
  };
  await becomeReady(worker, signal, announce);
  await aborted(signal);
  isReady = false;
  logs.logger.info('waypoint drains', { connections: worker.waypoint.connections });
  await worker.drain();
  logs.logger.info('waypoint ends');
}

async function runPool(config: WaypointConfig, logs: LogWriter, signal: AbortSignal): Promise<void> {
  const pool = new WorkerPool(config.workers, { log: logs.logger.child('workers'), clock: systemClock });
  await using _readiness = await serveReadiness(config, () => pool.isReady && !signal.aborted);
  await using _metrics = await serveHttp({ host: hostOf(config), port: config.statsPort }, async (question) => {
    if (question.path !== '/metrics' && question.path !== '/stats/prometheus') return textAnswer(404, 'not found\n');
    const headers = { 'content-type': metricsContentType(question.headers.accept) };
    return { status: 200, headers, body: await pool.metrics() };
  });
  await aborted(signal);
  await pool.end();
}

async function becomeReady(worker: Worker, signal: AbortSignal, announce: () => void): Promise<void> {
  await Promise.race([worker.ready, aborted(signal)]);
  if (!signal.aborted) announce();
}

function serveReadiness(config: WaypointConfig, isReady: () => boolean) {
  return serveHttp({ host: hostOf(config), port: config.readinessPort }, ({ path }) => {
    if (path !== '/healthz/ready') return textAnswer(404, 'not found\n');
    return isReady() ? textAnswer(200, 'ready\n') : textAnswer(503, 'not ready\n');
  });
}

function hostOf({ ipv6 }: WaypointConfig): string {
  return ipv6 ? '::' : '0.0.0.0';
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

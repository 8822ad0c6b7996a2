/**
 * `npm run bench`: direct against through the mesh, on two nodes, in one run. Prints a table, writes JSON, and compares
 * with a saved baseline. Absolute figures belong to the machine; the ratio is what can be compared.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, release } from 'node:os';
import { dirname, join } from 'node:path';
import { Command } from 'commander';
import { BenchCluster } from './cluster.ts';
import { measureConfigEdit } from './measures/config-edit.ts';
import { measureEnrolment } from './measures/enrolment.ts';
import { measureIdleMemory } from './measures/idle-memory.ts';
import { measurePluginCalls } from './measures/plugin-calls.ts';
import { measureRecovery } from './measures/recovery.ts';
import { measureRequests, type RequestFigures } from './measures/requests.ts';
import { measureThroughput } from './measures/throughput.ts';
import type { BenchPods } from './pods.ts';
import { type Figure, formatReport, percentile, type Report } from './report.ts';

const DEFAULT_OUTPUT = join(import.meta.dirname, 'results', 'latest.json');
const KEEP_ALIVE = [1, 16, 64, 256] as const;
const EDITS = 40;
const RECOVERIES = 3;

const options = new Command('bench')
  .option('--seconds <n>', 'length of each load', '5')
  .option('--redirect <backend>', 'how pods are captured', 'auto')
  .option('--output <file>', 'where the JSON goes', DEFAULT_OUTPUT)
  .option('--baseline <file>', 'an earlier JSON to compare with')
  .parse()
  .opts<{ seconds: string; redirect: string; output: string; baseline?: string }>();
const seconds = Number(options.seconds);

/** The loads that are run directly and through the mesh. */
interface Loads {
  readonly bulk: ReadonlyMap<number, number>;
  readonly keepAlive: ReadonlyMap<number, RequestFigures>;
  readonly perRequest: RequestFigures;
}

async function runLoads(pods: BenchPods, label: string): Promise<Loads> {
  const say = (text: string) => console.error(`${label}: ${text}`);
  const bulk = new Map<number, number>();
  for (const streams of [1, 8]) {
    bulk.set(streams, await measureThroughput(pods, streams, seconds));
    say(`iperf3 with ${streams} streams`);
  }
  const keepAlive = new Map<number, RequestFigures>();
  for (const connections of KEEP_ALIVE) {
    keepAlive.set(connections, await measureRequests(pods, { connections, keepAlive: true, seconds }));
    say(`keep-alive with ${connections} connections`);
  }
  const perRequest = await measureRequests(pods, { connections: 16, keepAlive: false, seconds });
  say('a connection per request');
  return { bulk, keepAlive, perRequest };
}

function loadFigures(direct: Loads, mesh: Loads): readonly Figure[] {
  const figures: Figure[] = [];
  for (const [streams, value] of mesh.bulk) {
    const name = `iperf3, ${streams} ${streams === 1 ? 'stream' : 'streams'}`;
    figures.push({ name, unit: 'Gbit/s', direct: direct.bulk.get(streams) ?? 0, mesh: value, better: 'more' });
  }
  for (const [connections, value] of mesh.keepAlive) {
    const before = direct.keepAlive.get(connections);
    if (before) figures.push(...requestFigures(`HTTP keep-alive, ${connections} conn`, before, value));
  }
  figures.push(...requestFigures('HTTP, connection per request', direct.perRequest, mesh.perRequest));
  return figures;
}

function requestFigures(name: string, direct: RequestFigures, mesh: RequestFigures): readonly Figure[] {
  const latency = (title: string, of: (figures: RequestFigures) => number): Figure => ({
    name: `${name}, ${title}`,
    unit: 'us',
    direct: of(direct),
    mesh: of(mesh),
    better: 'less',
  });
  return [
    { name, unit: 'req/s', direct: direct.requestsPerSecond, mesh: mesh.requestsPerSecond, better: 'more' },
    latency('p50', ({ p50Us }) => p50Us),
    latency('p99', ({ p99Us }) => p99Us),
    latency('p99.9', ({ p999Us }) => p999Us),
    ...(mesh.errors > 0 ? [{ name: `${name}, errors`, unit: '', mesh: mesh.errors, better: 'less' as const }] : []),
  ];
}

function percentileFigures(name: string, samples: readonly number[]): readonly Figure[] {
  return [0.5, 0.99].map((fraction) => ({
    name: `${name}, p${fraction * 100}`,
    unit: 'ms',
    mesh: percentile(samples, fraction),
    better: 'less' as const,
  }));
}

async function main(): Promise<void> {
  await using cluster = await BenchCluster.start(`bench-${process.pid}`, ['--redirect', options.redirect]);
  await cluster.apply('pods.yaml');
  const ip = (name: string) => cluster.pods.get({ namespace: 'bench', name })?.status?.podIP;
  const isReady = (name: string) =>
    cluster.pods
      .get({ namespace: 'bench', name })
      ?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
  await cluster.until('ready pods', () => ['client', 'http', 'bulk'].every(isReady));
  const httpIp = ip('http') ?? '';
  const pods: BenchPods = {
    httpIp,
    bulkIp: ip('bulk') ?? '',
    inClient: (command, timeoutMs) => cluster.exec('client', command, timeoutMs),
  };
  const figures: Figure[] = [];

  const direct = await runLoads(pods, 'direct');
  await cluster.local('label', 'bench', 'istio.io/dataplane-mode=ambient');
  const isEnrolled = (name: string) =>
    cluster.pods.get({ namespace: 'bench', name })?.metadata.annotations?.['ambient.istio.io/redirection'] ===
    'enabled';
  await cluster.until('enrolment', () => ['client', 'http', 'bulk'].every(isEnrolled));
  const restMb = await measureIdleMemory(cluster, httpIp, 0);
  const mesh = await runLoads(pods, 'mesh');
  figures.push(...loadFigures(direct, mesh));

  figures.push({ name: 'tunnel at rest', unit: 'MB', mesh: restMb, better: 'less' });
  for (const count of [1_000, 10_000]) {
    const mb = await measureIdleMemory(cluster, httpIp, count);
    figures.push({ name: `tunnel with ${count} idle connections`, unit: 'MB', mesh: mb, better: 'less' });
    console.error(`mesh: ${count} idle connections`);
  }
  figures.push(...percentileFigures('policy edit to effect', await measureConfigEdit(cluster, httpIp, EDITS)));
  const recovery = await measureRecovery(cluster, httpIp, RECOVERIES);
  for (const [program, samples] of Object.entries(recovery)) {
    const name = `recovery after kill -9: ${program}, median`;
    figures.push({ name, unit: 'ms', mesh: percentile(samples, 0.5), better: 'less' });
  }
  console.error('mesh: recovery after kill -9');
  figures.push(...percentileFigures('label to enrolled, 100 running pods', await measureEnrolment(cluster)));
  const calls = await measurePluginCalls(cluster);
  for (const command of ['ADD', 'CHECK', 'DEL'] as const) {
    figures.push(...percentileFigures(`CNI ${command}, 40 pods at once`, calls[command]));
  }

  const report: Report = {
    date: new Date().toISOString(),
    kernel: release(),
    cpus: availableParallelism(),
    figures,
  };
  const baseline = options.baseline && (JSON.parse(await readFile(options.baseline, 'utf8')) as Report);
  console.log(formatReport(report, baseline || undefined));
  await mkdir(dirname(options.output), { recursive: true });
  await writeFile(options.output, `${JSON.stringify(report, null, 2)}\n`);
  console.error(`written to ${options.output}`);
}

await main();

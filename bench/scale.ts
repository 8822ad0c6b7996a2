/**
 * The control plane over a large cluster: memory, CPU, time of a snapshot, and from "pod ready" in the API to the wire.
 *
 *     CULVERT_KUBE_BIN=<folder of etcd and kube-apiserver> node bench/scale.ts
 *     KUBECONFIG=<file> node bench/scale.ts --filled       # an API server that holds the population already
 *
 * With a KUBECONFIG nothing is started and nothing removed: give it an API server without controllers and kubelets.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { percentile } from './report.ts';
import { startApiServer } from './scale/api-server.ts';
import { Population } from './scale/population.ts';
import { subscribe } from './scale/subscriber.ts';

const ROOT = join(import.meta.dirname, '..');
const TICKS_PER_SECOND = 100;

const options = new Command('scale')
  .option('--nodes <n>', '', '1000')
  .option('--pods <n>', '', '20000')
  .option('--services <n>', '', '1000')
  .option('--subscribers <n>', 'that ask at once', '200')
  .option('--seconds <n>', 'of one replaced pod per second', '30')
  .option('--filled', 'the population is there already')
  .option('--program <file>', 'the command, as source or built', join(ROOT, 'src/cli/main.ts'))
  .parse()
  .opts<Record<'nodes' | 'pods' | 'services' | 'subscribers' | 'seconds' | 'program', string> & { filled?: boolean }>();

const rows: [string, string][] = [];
const row = (figure: string, value: string): void => {
  rows.push([figure, value]);
  console.log(`${figure}: ${value}`);
};

async function main(): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const kubeconfig = process.env.KUBECONFIG ?? stack.use(await startApiServer(needed('CULVERT_KUBE_BIN'))).kubeconfig;
  const { nodes, pods, services } = options;
  const population = await Population.open(kubeconfig, { nodes: +nodes, pods: +pods, services: +services });
  if (!options.filled) {
    const fromMs = performance.now();
    await population.fill();
    console.log(`filled in ${((performance.now() - fromMs) / 1_000).toFixed(0)} s`);
  }
  const token = await tunnelToken(population);
  const directory = await mkdtemp(join(tmpdir(), 'culvert-scale-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const startMs = performance.now();
  const controller = await startController(directory, kubeconfig);
  stack.defer(() => stop(controller.child));
  row('start to ready', `${((performance.now() - startMs) / 1_000).toFixed(1)} s`);
  const roots = await readFile(join(directory, 'roots.pem'), 'utf8');
  const { pid = 0 } = controller.child;
  await delay(3_000);
  row('RSS, nobody subscribed', await rss(pid));

  const seen = new Map<string, number>();
  const gone = new Map<string, number>();
  const common = { port: controller.port, roots, token };
  const first = stack.use(
    await subscribe({
      ...{ ...common, index: 0 },
      onResource: ({ name, removed, atMs }) => (removed ? gone : seen).set(name, atMs),
    }),
  );
  const snapshot = await first.snapshot;
  row('first response', `${snapshot.ms.toFixed(0)} ms, ${snapshot.resources} resources, ${mb(snapshot.bytes)}`);
  row('RSS, 1 subscriber', await rss(pid));
  row('CPU at rest', await cpuShare(pid, () => delay(5_000)));

  const ready: number[] = [];
  const removed: number[] = [];
  const replaced = new Map<number, string>();
  const churn = async () => {
    for (let i = 0; i < +options.seconds; i += 1) {
      const index = (i * 37) % +pods;
      const leaving = await population.removePod(index, `p-${index}`);
      const coming = await population.makePod(index, `r-${i}-${Date.now() % 1e6}`);
      await delay(1_000);
      removed.push((gone.get(leaving.uid) ?? Infinity) - leaving.atMs);
      ready.push((seen.get(coming.uid) ?? Infinity) - coming.atMs);
      replaced.set(index, coming.uid.slice(coming.uid.lastIndexOf('/') + 1));
    }
  };
  row('CPU at one replaced pod per second', await cpuShare(pid, churn));
  row('ready -> wire', `p50 ${percentile(ready, 0.5).toFixed(1)} ms, p99 ${percentile(ready, 0.99).toFixed(1)} ms`);
  row(
    'removed -> wire',
    `p50 ${percentile(removed, 0.5).toFixed(1)} ms, p99 ${percentile(removed, 0.99).toFixed(1)} ms`,
  );

  // As it was before, for the next run over the same API server.
  for (const [index, name] of replaced) {
    await population.removePod(index, name);
    await population.makePod(index, `p-${index}`);
  }
  const count = +options.subscribers;
  const askedMs = performance.now();
  const many = await Promise.all(Array.from({ length: count }, (_, i) => subscribe({ ...common, index: i + 1 })));
  for (const one of many) stack.use(one);
  let peak = 0;
  const watching = setInterval(() => {
    rssMb(pid).then((value) => {
      peak = Math.max(peak, value);
    });
  }, 50);
  const results = await Promise.allSettled(many.map((one) => one.snapshot));
  clearInterval(watching);
  const refused = results.filter(({ status }) => status === 'rejected').length;
  row(`${count} snapshots at once`, `${((performance.now() - askedMs) / 1_000).toFixed(1)} s, ${refused} refused`);
  row('RSS, highest meanwhile', `${peak.toFixed(0)} MB`);
  await delay(3_000);
  row(`RSS, ${count + 1} subscribers`, await rss(pid));
  console.log(`\n| figure | value |\n|---|---|\n${rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}`);
}

async function tunnelToken(population: Population): Promise<string> {
  await population.call('POST', '/api/v1/namespaces', { metadata: { name: 'istio-system' } });
  const accounts = '/api/v1/namespaces/istio-system/serviceaccounts';
  await population.call('POST', accounts, { metadata: { name: 'ztunnel' } });
  const spec = { audiences: ['istio-ca'], expirationSeconds: 7_200 };
  const answer = await population.call('POST', `${accounts}/ztunnel/token`, { spec });
  return (answer as { status: { token: string } }).status.token;
}

async function startController(
  directory: string,
  kubeconfig: string,
): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const portsFile = join(directory, 'ports.json');
  const child = spawn(process.execPath, [...nodeFlags(), options.program, 'controller'], {
    env: {
      ...{
        PATH: process.env.PATH,
        KUBECONFIG: kubeconfig,
        NODE_NO_WARNINGS: '1',
        CACERTS_DIR: join(directory, 'none'),
      },
      ...{ PORTS_FILE: portsFile, ROOT_CERT_FILE: join(directory, 'roots.pem'), LISTEN_HOST: '127.0.0.1' },
      ...{ LISTEN_PORT: '0', METRICS_PORT: '0', READY_PORT: '0', CA_DIR: join(directory, 'ca'), LOG_FILTER: 'warn' },
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  for (;;) {
    if (child.exitCode !== null) throw new Error('the controller ended');
    const text = await readFile(portsFile, 'utf8').catch(() => '');
    if (text !== '') return { child, port: (JSON.parse(text) as { xds: number }).xds };
    await delay(20);
  }
}

/** Flags for the controller's Node, from SCALE_NODE_FLAGS: profiling, limits. */
function nodeFlags(): readonly string[] {
  return (process.env.SCALE_NODE_FLAGS ?? '').split(' ').filter((flag) => flag !== '');
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.kill('SIGTERM')) await once(child, 'exit');
}

async function rssMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1_024;
}

async function rss(pid: number): Promise<string> {
  return `${(await rssMb(pid)).toFixed(0)} MB`;
}

async function cpuSeconds(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

async function cpuShare(pid: number, during: () => Promise<unknown>): Promise<string> {
  const [before, fromMs] = [await cpuSeconds(pid), performance.now()];
  await during();
  const share = (await cpuSeconds(pid)) - before;
  return `${((100 * share) / ((performance.now() - fromMs) / 1_000)).toFixed(1)} % of a core`;
}

function mb(bytes: number): string {
  return `${(bytes / 1e6).toFixed(2)} MB`;
}

function needed(name: string): string {
  const value = process.env[name];
  if (value) return value;
  console.error(`${name} is not set, KUBECONFIG neither: see the head of bench/scale.ts`);
  process.exit(2);
}

await main();

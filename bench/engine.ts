/**
 * What a pair of engines costs, in one run against direct connections on loopback: bulk by iperf3, keep-alive requests
 * and a connection per request by wrk. Each engine and the application are processes of their own.
 * Usage: `node bench/engine.ts [seconds per figure] [typescript|native] [threads of the native engine]
 *   [part of the name of the figures to take]`
 */
import { type ChildProcess, execFile, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { release } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { systemClock } from '../src/core/system-clock.ts';
import type { IpPort } from '../src/model/address.ts';
import { type Identity, identityUri } from '../src/model/identity.ts';
import { CertificateAuthority, selfIssuing } from '../src/pki/index.ts';
import type { NodeOrder } from './engine-node.ts';
import { type Figure, formatReport } from './report.ts';

const run = promisify(execFile);
const CLIENT: Identity = { trustDomain: 'cluster.local', namespace: 'bench', serviceAccount: 'client' };
const SERVER: Identity = { ...CLIENT, serviceAccount: 'server' };

/** Measures and returns the figures; everything started is ended. */
export async function measureEngines(
  seconds: number,
  engine: NodeOrder['engine'] = { name: 'typescript' },
  only = '',
): Promise<readonly Figure[]> {
  await using children = new Children();
  const authority = await CertificateAuthority.ephemeral({ trustDomain: 'cluster.local', clock: systemClock });
  const signal = new AbortController().signal;
  const [clientCertificate, serverCertificate] = await Promise.all([
    selfIssuing(authority).fetch(CLIENT, signal),
    selfIssuing(authority).fetch(SERVER, signal),
  ]);
  /** The way through two engines to a port on loopback. */
  const tunnelTo = async (port: number): Promise<number> => {
    const inbound = await children.engine({
      engine,
      kind: 'inbound-hbone',
      credentials: plain(serverCertificate),
      decision: { action: 'forward', to: loopback(port) },
    });
    return children.engine({
      engine,
      kind: 'outbound',
      credentials: plain(clientCertificate),
      decision: {
        action: 'hbone',
        session: {
          identity: CLIENT,
          expectedIdentities: [identityUri(SERVER)],
          peer: loopback(inbound),
          sourceIp: '127.0.0.1',
        },
        connect: { authority: `127.0.0.1:${port}`, headers: {} },
      },
    });
  };
  const figures: Figure[] = [];
  const measure = async (
    name: string,
    unit: string,
    ports: [number, number],
    by: (port: number) => Promise<number>,
  ) => {
    if (!name.includes(only)) return;
    const direct = await by(ports[0]);
    const before = children.engineCpuUs();
    const mesh = await by(ports[1]);
    const cpuUs = children.engineCpuUs() - before;
    const [per, count] = unit === 'Gbit/s' ? ['MB', mesh * 125 * seconds] : ['request', mesh * seconds];
    figures.push({ name, unit, direct, mesh, better: 'more' });
    figures.push({ name: '  CPU of the pair', unit: `us/${per}`, mesh: cpuUs / count, better: 'less' });
  };

  const iperfPort = await children.iperf();
  const bulk: [number, number] = [iperfPort, await tunnelTo(iperfPort)];
  for (const streams of [1, 4])
    await measure(`iperf3, ${streams} streams`, 'Gbit/s', bulk, (port) => iperf(port, streams, seconds));
  const httpPort = await children.program('http-responder.ts');
  const http: [number, number] = [httpPort, await tunnelTo(httpPort)];
  for (const connections of [1, 16, 64])
    await measure(`keep-alive, ${connections} connections`, 'req/s', http, (port) =>
      wrk(port, ['-c', String(connections)], seconds),
    );
  await measure('connection per request', 'conn/s', http, (port) =>
    wrk(port, ['-c', '16', '-H', 'Connection: close'], seconds),
  );
  return figures;
}

class Children implements AsyncDisposable {
  readonly #children: ChildProcess[] = [];

  readonly #engines: number[] = [];

  async engine(order: NodeOrder): Promise<number> {
    const port = await this.#start('engine-node.ts', order);
    this.#engines.push(this.#children.at(-1)?.pid ?? 0);
    return port;
  }

  /** CPU time that all engines have used so far, of user and system, in microseconds to 10 ms. */
  engineCpuUs(): number {
    let ticks = 0;
    for (const pid of this.#engines) {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
      ticks += Number(fields[11]) + Number(fields[12]);
    }
    return ticks * 10_000;
  }

  program(name: string): Promise<number> {
    return this.#start(name);
  }

  /** An iperf3 server on a port that was free a moment ago. */
  async iperf(): Promise<number> {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    probe.close();
    await once(probe, 'close');
    this.#children.push(spawn('iperf3', ['-s', '-B', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' }));
    await listening(port);
    return port;
  }

  async #start(name: string, order?: NodeOrder): Promise<number> {
    const child = fork(join(import.meta.dirname, name), { stdio: 'inherit' });
    this.#children.push(child);
    if (order) child.send(order);
    const [message] = await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => Promise.reject(new Error(`${name} ended early`))),
    ]);
    return (message as { port: number }).port; // the one message of the programs here
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill();
        await once(child, 'exit');
      }),
    );
  }
}

async function iperf(port: number, streams: number, seconds: number): Promise<number> {
  const args = ['-J', '-c', '127.0.0.1', '-p', String(port), '-P', String(streams), '-t', String(seconds)];
  const { stdout } = await run('iperf3', args, { maxBuffer: 64 * 1024 * 1024 });
  const report = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
  return report.end.sum_received.bits_per_second / 1e9;
}

async function wrk(port: number, args: readonly string[], seconds: number): Promise<number> {
  const script = join(import.meta.dirname, 'wrk-report.lua');
  const { stdout } = await run('wrk', ['-t1', ...args, `-d${seconds}s`, '-s', script, `http://127.0.0.1:${port}/`]);
  const line = stdout.split('\n').find((text) => text.startsWith('REPORT '));
  if (line === undefined) throw new Error(`wrk printed no report: ${stdout.slice(-200)}`);
  const report = JSON.parse(line.slice('REPORT '.length)) as { requests: number; seconds: number };
  return report.requests / report.seconds;
}

async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const socket = connect(port, '127.0.0.1');
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isOpen) return;
    await delay(20);
  }
  throw new Error(`nothing listens on port ${port}`);
}

function loopback(port: number): IpPort {
  return { ip: '127.0.0.1', port };
}

/** The fields alone: what crosses to another process is JSON. */
function plain({
  identity,
  version,
  privateKeyPem,
  certChainPem,
  rootsPem,
}: NodeOrder['credentials']): NodeOrder['credentials'] {
  return { identity, version, privateKeyPem, certChainPem, rootsPem };
}

if (import.meta.main) {
  const [seconds = 3, name = 'typescript', threads = 1, only = ''] = process.argv.slice(2);
  if (name !== 'typescript' && name !== 'native') throw new Error(`no engine is named ${name}`);
  const figures = await measureEngines(Number(seconds), { name, threads: Number(threads) }, only);
  console.log(formatReport({ date: new Date().toISOString(), kernel: release(), cpus: 0, figures }));
}

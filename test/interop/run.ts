/**
 * Traffic of both engines with Istio's echo application as HBONE client and as HBONE server. The two binaries `echo-client` and
 * `echo-server` are taken from the folder in CULVERT_INTEROP_BIN. Prints what passed; ends with 1 when something failed
 * and with 2 when the binaries are not there.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ForwardHbone } from '../../src/engine/index.ts';
import { NativeEngine, TypescriptEngine } from '../../src/engine/index.ts';
import { type Identity, identityUri } from '../../src/model/identity.ts';
import { type CertificateAuthority, selfIssuing } from '../../src/pki/index.ts';
import { CLIENT, type EngineFactory, newAuthority, SERVER, startRig } from '../engine/rig.ts';
import { eventually } from '../support/eventually.ts';

const run = promisify(execFile);
const NEVER = new AbortController().signal;
/** Requests per case: enough for several streams on one session. */
const REQUESTS = 20;

interface Bed {
  readonly create: EngineFactory;
  readonly folder: string;
  readonly binaries: string;
  readonly authority: CertificateAuthority;
  /** Ports of the echo server: HTTP, HBONE. */
  readonly http: number;
  readonly hbone: number;
}

const engines: Readonly<Record<string, EngineFactory>> = {
  native: (handlers, options) => new NativeEngine(handlers, options),
  typescript: (handlers, options) => new TypescriptEngine(handlers, options),
};

const cases: Readonly<Record<string, (bed: Bed) => Promise<void>>> = {
  'our tunnel reaches echo-server over HBONE': async (bed) => {
    const bodies = await throughEngine(bed, tunnel(bed, SERVER));
    for (const body of bodies)
      check(/Hostname=|RequestId|Host=/.test(body), `unexpected answer: ${body.slice(0, 200)}`);
  },
  'echo-server with another identity than expected is not sent to': async (bed) => {
    const failure = await throughEngine(bed, tunnel(bed, CLIENT)).then(
      () => undefined,
      (error: Error) => error,
    );
    check(failure !== undefined, 'a request was answered');
  },
  'echo-client reaches an application through our inbound': async (bed) => {
    await using server = await inbound(bed);
    const output = await echoClient(bed, server.port, 'client');
    check(answered(output) === REQUESTS, `not all requests were answered: ${output.slice(-400)}`);
    const [stream] = server.streams;
    check(stream?.peerIdentity.serviceAccount === CLIENT.serviceAccount, 'the client was not known by its identity');
  },
  'echo-client reaches an application by a tunnel inside a tunnel': async (bed) => {
    await using inner = await inbound(bed);
    await using gateway = await inbound(bed, inner.port);
    const output = await echoClient(bed, inner.port, 'client', [
      ...['--double-hbone', `127.0.0.1:${gateway.port}`, '--inner-hbone-insecure-skip-verify'],
      ...['--inner-hbone-ca', join(bed.folder, 'ca.crt')],
    ]);
    check(answered(output) === REQUESTS, `not all requests were answered: ${output.slice(-400)}`);
    check(inner.streams.length > 0, 'no stream reached the inner tunnel');
  },
  'echo-client with a certificate of another root delivers nothing': async (bed) => {
    await using server = await inbound(bed);
    const output = await echoClient(bed, server.port, 'stranger').catch((error: Error) => error.message);
    check(!/StatusCode=200/.test(output), 'a request was answered');
    check(server.streams.length === 0, 'a stream was decided upon');
    check(server.failures.length > 0, 'no failure was told');
  },
};

async function main(): Promise<number> {
  const binaries = process.env.CULVERT_INTEROP_BIN;
  if (!binaries || !hasBinaries(binaries)) {
    console.error('interop: set CULVERT_INTEROP_BIN to a folder with the executables echo-client and echo-server');
    return 2;
  }
  const folder = mkdtempSync(join(tmpdir(), 'culvert-interop-'));
  try {
    return await runCases(binaries, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runCases(binaries: string, folder: string): Promise<number> {
  const authority = await newAuthority();
  await Promise.all([
    writeCredentials(folder, authority, 'server', SERVER),
    writeCredentials(folder, authority, 'client', CLIENT),
    writeCredentials(folder, await newAuthority(), 'stranger', CLIENT),
  ]);
  const [http, hbone, tcp, grpc] = await freePorts(4);
  if (!http || !hbone) throw new Error('no free ports');
  const args = ['--port', `${http}`, '--hbone', `${hbone}`, '--tls', `${hbone}`];
  args.push('--tcp', `${tcp}`, '--grpc', `${grpc}`);
  args.push('--crt', join(folder, 'server.crt'), '--key', join(folder, 'server.key'), '--ca', join(folder, 'ca.crt'));
  const server = spawn(join(binaries, 'echo-server'), args, { stdio: 'ignore' });
  let passed = 0;
  let failed = 0;
  try {
    await eventually(() => answers(http).then((isUp) => isUp && answers(hbone)), 'echo-server to listen', 30_000);
    for (const [engine, create] of Object.entries(engines)) {
      for (const [name, test] of Object.entries(cases)) {
        try {
          await test({ create, folder, binaries, authority, http, hbone });
          passed += 1;
          console.log(`ok   ${engine}: ${name}`);
        } catch (error) {
          failed += 1;
          console.log(`FAIL ${engine}: ${name}: ${error instanceof Error ? error.message : error}`);
        }
      }
    }
  } finally {
    server.kill();
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

/** Sends HTTP requests through an engine that decides so; the bodies of the answers. */
async function throughEngine(bed: Bed, decision: ForwardHbone): Promise<readonly string[]> {
  await using rig = await startRig(
    bed.create,
    {
      outbound: () => decision,
    },
    { authority: bed.authority },
  );
  const { port } = await rig.listen('outbound');
  const bodies = await Promise.allSettled(Array.from({ length: REQUESTS }, (_, i) => get(port, `/hello-${i}`)));
  const refused = bodies.find((result) => result.status === 'rejected');
  if (refused) throw new Error(`${refused.reason}; ${[...rig.outcomes.values()][0]?.error}`);
  return bodies.map((result) => (result.status === 'fulfilled' ? result.value : ''));
}

/** An engine that terminates HBONE and sends to the echo server, or to `to`. */
async function inbound(bed: Bed, to = bed.http) {
  const rig = await startRig(
    bed.create,
    {
      inboundHbone: () => ({ action: 'forward', to: { ip: '127.0.0.1', port: to } }),
    },
    { authority: bed.authority },
  );
  const { port } = await rig.listen('inbound-hbone');
  return Object.assign(rig, { port });
}

async function echoClient(bed: Bed, port: number, who: string, more: readonly string[] = []): Promise<string> {
  const file = (name: string) => join(bed.folder, name);
  const { stdout } = await run(
    join(bed.binaries, 'echo-client'),
    [
      `http://127.0.0.1:${bed.http}/hello`,
      ...['--count', `${REQUESTS}`, '--hbone', `127.0.0.1:${port}`, '--hbone-insecure-skip-verify'],
      ...['--hbone-client-cert', file(`${who}.crt`), '--hbone-client-key', file(`${who}.key`)],
      ...['--hbone-ca', file('ca.crt')],
      ...more,
    ],
    { timeout: 30_000 },
  );
  return stdout;
}

const answered = (output: string): number => output.match(/StatusCode=200/g)?.length ?? 0;

function tunnel(bed: Bed, expected: Identity, port = bed.hbone): ForwardHbone {
  return {
    action: 'hbone',
    session: {
      identity: CLIENT,
      expectedIdentities: [identityUri(expected)],
      peer: { ip: '127.0.0.1', port },
      sourceIp: '127.0.0.1',
    },
    connect: { authority: `127.0.0.1:${bed.http}`, headers: { baggage: 'k8s.pod.name=x' } },
  };
}

async function writeCredentials(folder: string, authority: CertificateAuthority, name: string, identity: Identity) {
  const { privateKeyPem, certChainPem, rootsPem } = await selfIssuing(authority).fetch(identity, NEVER);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.key`), privateKeyPem, { mode: 0o600 });
  writeFileSync(join(folder, `${name}.crt`), certChainPem);
  if (name !== 'stranger') writeFileSync(join(folder, 'ca.crt'), rootsPem);
}

function get(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, agent: false, timeout: 20_000 }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        body += text;
      });
      response.once('error', reject);
      response.once('end', () =>
        response.statusCode === 200 ? resolve(body) : reject(new Error(`${response.statusCode}`)),
      );
    });
    sent.once('timeout', () => sent.destroy(new Error('no answer in 20 s')));
    sent.once('error', reject);
    sent.end();
  });
}

/** Ports that were free a moment ago. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function hasBinaries(folder: string): boolean {
  try {
    for (const name of ['echo-client', 'echo-server']) accessSync(join(folder, name), constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

process.exitCode = await main();

/**
 * The tunnel as a process in a node namespace of its own, with a certificate authority over gRPC and the test as the
 * node agent. The control plane is a file, or a discovery server that the test fills.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { connectTcp, listenTcp, type Netns, SeqpacketServer, type SeqpacketSocket } from 'culvert-netns';
import { createGrpcServer, type GrpcServer, startGrpcServer } from '../../src/core/grpc-server.ts';
import { silentLogger } from '../../src/core/logger.ts';
import { systemClock } from '../../src/core/system-clock.ts';
import { WorkloadRequestSchema, WorkloadResponseSchema } from '../../src/gen/zds_pb.js';
import type { Authenticator } from '../../src/model/caller.ts';
import { readCaFiles } from '../../src/pki/ca-files.ts';
import {
  addSigningService,
  CERTIFICATE,
  CertificateAuthority,
  parseCertificate,
  parsePem,
  toPem,
} from '../../src/pki/index.ts';
import { addDiscoveryService, ResourceStore } from '../../src/xds/index.ts';
import { revocationList } from '../support/revocation-list.ts';
import { eventually } from './apps.ts';
import { ENGINE } from './engine.ts';
import { Fabric, type Namespace } from './fabric.ts';

const MAIN = new URL('../../src/cli/main.ts', import.meta.url).pathname;
const CA_PORT = 15_012;

export class TunnelProcess implements AsyncDisposable {
  readonly fabric: Fabric;
  readonly node: Namespace;
  readonly #folder = mkdtempSync(join(tmpdir(), 'culvert-tunnel-'));
  readonly #stack = new AsyncDisposableStack();
  #child: ChildProcess | undefined;
  #output = '';
  #agent: SeqpacketServer | undefined;

  readonly #owner: TunnelProcess | undefined;

  private constructor(fabric: Fabric, node: Namespace, owner?: TunnelProcess) {
    this.fabric = fabric;
    this.node = node;
    this.#owner = owner;
  }

  static async create(): Promise<TunnelProcess> {
    const fabric = await Fabric.create();
    return new TunnelProcess(fabric, await fabric.add());
  }

  /** Another tunnel on the same network with the same authority, in a namespace of its own. Disposed before this one. */
  async sibling(): Promise<TunnelProcess> {
    return new TunnelProcess(this.fabric, await this.fabric.add(), this);
  }

  get output(): string {
    return this.#output;
  }

  get exitCode(): number | null | undefined {
    return this.#child?.exitCode;
  }

  /**
   * Starts the program with this state; `env` is added to its environment. `setup` is a shell command that is run before
   * it, in its mount namespace.
   */
  async start(state: object | ResourceStore, env: Readonly<Record<string, string>> = {}, setup = ':'): Promise<void> {
    const folder = this.#authorityFolder;
    const authority = await CertificateAuthority.open({ folder, trustDomain: 'cluster.local', clock: systemClock });
    const store = state instanceof ResourceStore ? state : undefined;
    const server = await startServer(authority, store);
    this.#stack.use(server);
    this.#stack.use(forward(this.node.netns, CA_PORT, server.port));
    const config = join(this.#folder, 'mesh.json');
    if (!store) writeFileSync(config, JSON.stringify(state));
    const address = `https://localhost:${CA_PORT}`;
    const discovery = { XDS_ADDRESS: address, XDS_ROOT_CA: authority.rootsPem, POD_NAMESPACE: 'istio-system' };
    const all = {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      NODE_NAME: 'n1',
      CULVERT_ENGINE: ENGINE,
      ...(store ? discovery : { LOCAL_XDS_PATH: config }),
      CA_ADDRESS: address,
      CA_ROOT_CA: authority.rootsPem,
      AUTH_TOKEN: 'token',
      INPOD_UDS: this.socketPath,
      ...env,
    };
    const program = [process.execPath, MAIN, 'ztunnel'];
    const enter = ['nsenter', `--net=/run/netns/${this.node.name}`, 'unshare', '--mount'];
    const inNamespace = [...enter, 'sh', '-ec', `${setup}; exec "$@"`, 'sh'];
    const args = ['--pdeathsig', 'KILL', ...inNamespace, ...program];
    const child = spawn('setpriv', args, { env: all, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.#output += chunk.toString();
      });
    }
    this.#child = child;
  }

  get socketPath(): string {
    return join(this.#folder, 'zds.sock');
  }

  /** For `CRL_PATH`. */
  get revocationPath(): string {
    return join(this.#folder, 'crl.pem');
  }

  /** Puts a list of the authority in force that revokes the certificates of these workloads, and those alone. */
  async revoke(...names: readonly string[]): Promise<void> {
    const material = await readCaFiles(this.#authorityFolder);
    const issuer = parsePem(material?.certPem ?? '', CERTIFICATE).map(parseCertificate)[0];
    if (!material || !issuer) throw new Error('no authority');
    const dump = JSON.parse((await this.request(15_000, '/config_dump'))?.body.toString() ?? '');
    const serials = names.map((name) => {
      const identity = `spiffe://cluster.local/ns/default/sa/${name}`;
      const found = dump.certificates.find((entry: { identity: string }) => entry.identity === identity);
      return BigInt(found.certChain[0].serialNumber);
    });
    const list = revocationList({ key: material.key, subject: issuer.subject }, serials);
    writeFileSync(`${this.revocationPath}.new`, toPem(list, 'X509 CRL'));
    renameSync(`${this.revocationPath}.new`, this.revocationPath);
  }

  get #authorityFolder(): string {
    return join((this.#owner ?? this).#folder, 'ca');
  }

  /** Begins to listen as the node agent. */
  async listenAsAgent(): Promise<void> {
    this.#agent = await SeqpacketServer.listen(this.socketPath, 0o600);
  }

  /** The next connection of the tunnel, with its hello read. */
  async acceptTunnel(): Promise<AgentSession> {
    const socket = await this.#agent?.accept(AbortSignal.timeout(30_000));
    if (!socket) throw new Error('the agent does not listen');
    const hello = await socket.receive(AbortSignal.timeout(5_000));
    if (hello?.data.toString('hex') !== '0801') throw new Error('no hello');
    return new AgentSession(socket);
  }

  async stopAgent(): Promise<void> {
    await this.#agent?.[Symbol.asyncDispose]();
    this.#agent = undefined;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Resolves with the exit code. */
  exited(): Promise<number> {
    return eventually('the process ends', async () => {
      const code = this.exitCode;
      return code === null || code === undefined ? undefined : { code };
    }).then(({ code }) => code);
  }

  /** Status and body of a request to one of the node's ports; undefined when nobody listens. */
  async request(
    port: number,
    path: string,
    method = 'GET',
    headers = '',
  ): Promise<{ readonly status: number; readonly body: Buffer } | undefined> {
    try {
      const socket = new Socket({
        fd: await connectTcp(this.node.netns, { to: { ip: '127.0.0.1', port }, timeoutMs: 2_000 }),
      });
      const chunks: Buffer[] = [];
      socket.on('data', (chunk: Buffer) => chunks.push(chunk));
      const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
      socket.on('error', () => {});
      socket.write(`${method} ${path} HTTP/1.0\r\nhost: x\r\n${headers}\r\n`);
      await closed;
      const answer = Buffer.concat(chunks);
      const split = answer.indexOf('\r\n\r\n');
      return { status: Number(answer.toString('latin1').split(' ')[1]), body: answer.subarray(split + 4) };
    } catch {
      return undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child && this.exitCode === null && this.#child.signalCode === null) {
      this.kill('SIGKILL');
      await new Promise((resolve) => this.#child?.once('exit', resolve));
    }
    await this.stopAgent();
    await this.#stack.disposeAsync();
    if (!this.#owner) await this.fabric[Symbol.asyncDispose]();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A pod of the tunnel's node, for its state as a file. */
export const localWorkload = (name: string, { ip4, ip6 }: Namespace, node = 'n1') => ({
  uid: `Kubernetes//Pod/default/${name}`,
  name,
  namespace: 'default',
  serviceAccount: name,
  workloadIps: [ip4, ip6],
  protocol: 'HBONE',
  node,
});

/** The agent's end of one ZDS connection. */
export class AgentSession {
  readonly #socket: SeqpacketSocket;

  constructor(socket: SeqpacketSocket) {
    this.#socket = socket;
  }

  /** Sends a request and resolves with the error of its Ack, empty on success; undefined when the tunnel hung up. */
  async ask(
    payload: MessageInitShape<typeof WorkloadRequestSchema>['payload'],
    netns?: Netns,
  ): Promise<string | undefined> {
    const request = create(WorkloadRequestSchema, payload ? { payload } : {});
    await this.#socket.send(toBinary(WorkloadRequestSchema, request), netns?.fd);
    const answer = await this.#socket.receive(AbortSignal.timeout(10_000));
    if (!answer) return undefined;
    const ack = fromBinary(WorkloadResponseSchema, answer.data).payload;
    return ack.case === 'ack' ? ack.value.error : undefined;
  }

  add(uid: string, name: string, netns: Netns): Promise<string | undefined> {
    const workloadInfo = { name, namespace: 'default', serviceAccount: name };
    return this.ask({ case: 'add', value: { uid, workloadInfo } }, netns);
  }

  snapshotSent(): Promise<string | undefined> {
    return this.ask({ case: 'snapshotSent', value: {} });
  }

  /** Resolves when the tunnel closed the connection. */
  async ended(): Promise<boolean> {
    return (await this.#socket.receive(AbortSignal.timeout(10_000))) === undefined;
  }

  async close(): Promise<void> {
    await this.#socket[Symbol.asyncDispose]();
  }
}

const authenticator: Authenticator = {
  authenticate: async ({ clusterId }) => ({
    trustDomain: 'cluster.local',
    namespace: 'istio-system',
    serviceAccount: 'ztunnel',
    podName: 'ztunnel',
    podUid: 'uid',
    clusterId,
  }),
};

async function startServer(authority: CertificateAuthority, store: ResourceStore | undefined): Promise<GrpcServer> {
  const server = createGrpcServer();
  if (store) addDiscoveryService(server, { store, authenticator, clock: systemClock, log: silentLogger });
  addSigningService(server, {
    authority,
    authenticator,
    nodes: { mayImpersonate: async () => true },
    trustedNodeAccounts: new Set(['istio-system/ztunnel']),
    log: silentLogger,
  });
  const { key, certChainPem } = await authority.issueServer(['localhost']);
  return startGrpcServer(server, { host: '127.0.0.1', port: 0, privateKeyPem: key.reveal(), certChainPem });
}

/** Makes a port of this process' namespace reachable on loopback of another. */
function forward(netns: Netns, port: number, to: number): Disposable {
  return listenTcp(netns, { ip: '127.0.0.1', port }, ({ fd }) => {
    const near = new Socket({ fd });
    const far = connect(to, '127.0.0.1');
    for (const [a, b] of [
      [near, far],
      [far, near],
    ] as const) {
      a.on('error', () => b.destroy());
      a.on('close', () => b.destroy());
    }
    near.pipe(far).pipe(near);
  });
}

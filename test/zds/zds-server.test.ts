/** The agent's ZDS server against tunnels that behave, and some that do not. */
import { equal } from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import test from 'ava';
import { closeFd, Netns, SeqpacketSocket } from 'culvert-netns';
import { type ZdsPod, ZdsServer } from '../../src/cni/agent/zds-server.ts';
import { silentLogger } from '../../src/core/logger.ts';
import { systemClock } from '../../src/core/system-clock.ts';
import { WorkloadRequestSchema } from '../../src/gen/zds_pb.js';
import { eventually } from '../support/eventually.ts';

const NOTHING = new Uint8Array();
const HELLO = Buffer.from('0801', 'hex');
const ACK = Buffer.from('0a00', 'hex');
const REFUSAL = Buffer.from('0a040a026e6f', 'hex');
const info = { name: 'cart', namespace: 'shop', serviceAccount: 'cart' };

class Agent implements AsyncDisposable {
  readonly netns = Netns.current();
  readonly answers: string[] = [];
  readonly newest: (number | undefined)[] = [];
  pods: ZdsPod[] = [];
  readonly #dir = mkdtempSync(join(tmpdir(), 'cvt-zds-'));
  #server: ZdsServer | undefined;

  static async start(...uids: readonly string[]): Promise<Agent> {
    const agent = new Agent();
    agent.pods = uids.map((uid) => agent.pod(uid));
    agent.#server = await ZdsServer.listen({
      path: agent.path,
      clock: systemClock,
      log: silentLogger,
      snapshot: () => agent.pods,
      onTunnel: async () => {},
      onConnections: (_count, pid) => agent.newest.push(pid),
      onSnapshotAnswer: (uid, error) => agent.answers.push(`${uid} ${error}`),
    });
    agent.#server.serve();
    return agent;
  }

  get path(): string {
    return join(this.#dir, 'ztunnel.sock');
  }

  get server(): ZdsServer {
    if (this.#server === undefined) throw new Error('not started');
    return this.#server;
  }

  pod(uid: string) {
    return { uid, info, netns: this.netns };
  }

  connections(count: number): Promise<void> {
    return eventually(() => this.server.connections === count, `${count} connections`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    this.netns[Symbol.dispose]();
    rmSync(this.#dir, { recursive: true });
  }
}

/** A tunnel that answers by hand or by itself. */
class Tunnel implements AsyncDisposable {
  readonly requests: string[] = [];
  readonly #socket: SeqpacketSocket;

  private constructor(socket: SeqpacketSocket) {
    this.#socket = socket;
  }

  static async connect(agent: Agent, hello: Uint8Array | undefined = HELLO): Promise<Tunnel> {
    const tunnel = new Tunnel(await SeqpacketSocket.connect(agent.path));
    if (hello.length > 0) await tunnel.send(hello);
    return tunnel;
  }

  send(data: Uint8Array, fd?: number): Promise<void> {
    return this.#socket.send(data, fd);
  }

  /** The next request, as `add uid fd`; undefined at the end. */
  async next(): Promise<string | undefined> {
    const message = await this.#socket.receive().catch(() => undefined);
    if (message === undefined) return undefined;
    const { payload } = fromBinary(WorkloadRequestSchema, message.data);
    const uid = payload.value !== undefined && 'uid' in payload.value ? payload.value.uid : '';
    for (const fd of message.fds) closeFd(fd);
    const text = [payload.case, uid, message.fds.length > 0 ? 'fd' : ''].filter(Boolean).join(' ');
    this.requests.push(text);
    return text;
  }

  /** Answers everything until the end of the connection. */
  async answerAll(answer: (request: string) => Uint8Array = () => ACK): Promise<void> {
    for (let request = await this.next(); request !== undefined; request = await this.next()) {
      await this.send(answer(request)).catch(() => {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#socket[Symbol.asyncDispose]();
  }
}

/** Throws unless a new pod of the agent reaches the tunnel, with its namespace. */
async function assertHandedOver(agent: Agent, tunnel: Tunnel, uid: string): Promise<void> {
  await agent.server.add(agent.pod(uid));
  equal(tunnel.requests.at(-1), `add ${uid} fd`);
}

test('the snapshot: each pod with its namespace, one at a time, and then the end of it', async (t) => {
  await using agent = await Agent.start('a', 'b');
  agent.pods.push({ uid: 'c', info });
  await using tunnel = await Tunnel.connect(agent);
  for (const request of ['add a fd', 'add b fd', 'keep c', 'snapshotSent']) {
    t.is(await tunnel.next(), request);
    await tunnel.send(ACK);
  }
  await eventually(() => agent.answers.length === 2);
  t.deepEqual(agent.answers, ['a ', 'b ']);
  t.deepEqual(agent.newest, [process.pid]);
});

test('a refusal in the snapshot is told and ends nothing', async (t) => {
  await using agent = await Agent.start('a', 'b');
  await using tunnel = await Tunnel.connect(agent);
  void tunnel.answerAll((request) => (request === 'add a fd' ? REFUSAL : ACK));
  await eventually(() => tunnel.requests.includes('snapshotSent'));
  await eventually(() => agent.answers.length === 2);
  t.deepEqual(agent.answers, ['a no', 'b ']);
  t.is(agent.server.connections, 1);
});

test('a new pod goes to the newest tunnel, a deletion to all', async (t) => {
  await using agent = await Agent.start();
  await using old = await Tunnel.connect(agent);
  void old.answerAll();
  await eventually(() => old.requests.includes('snapshotSent'));
  await using next = await Tunnel.connect(agent);
  void next.answerAll();
  await eventually(() => next.requests.includes('snapshotSent'));
  await agent.server.add(agent.pod('x'));
  await agent.server.delete('x');
  t.deepEqual(old.requests, ['snapshotSent', 'del x']);
  t.deepEqual(next.requests, ['snapshotSent', 'add x fd', 'del x']);
  await next[Symbol.asyncDispose]();
  await agent.connections(1);
  await t.notThrowsAsync(assertHandedOver(agent, old, 'y'));
});

test('control: with the tunnel gone, or one that is silent, no pod is handed over', async (t) => {
  await using agent = await Agent.start();
  await using tunnel = await Tunnel.connect(agent);
  const answering = tunnel.answerAll();
  await eventually(() => tunnel.requests.includes('snapshotSent'));
  await t.notThrowsAsync(assertHandedOver(agent, tunnel, 'x'));
  await tunnel[Symbol.asyncDispose]();
  await answering;
  await agent.connections(0);
  await t.throwsAsync(assertHandedOver(agent, tunnel, 'y'));
  await using silent = await Tunnel.connect(agent, NOTHING);
  await t.throwsAsync(assertHandedOver(agent, silent, 'z'), { code: 'ERR_ZDS' });
});

test('a pod added during the snapshot comes after it', async (t) => {
  await using agent = await Agent.start('a');
  await using tunnel = await Tunnel.connect(agent);
  t.is(await tunnel.next(), 'add a fd');
  const added = agent.server.add(agent.pod('x'));
  await tunnel.send(ACK);
  void tunnel.answerAll();
  await added;
  t.deepEqual(tunnel.requests, ['add a fd', 'snapshotSent', 'add x fd']);
});

test('refusals and absent tunnels are errors of the one who asked', async (t) => {
  await using agent = await Agent.start();
  await t.throwsAsync(agent.server.add(agent.pod('x')), { code: 'ERR_ZDS', message: /no tunnel is connected/ });
  await t.notThrowsAsync(agent.server.delete('x'));
  await using tunnel = await Tunnel.connect(agent);
  void tunnel.answerAll((request) => (request.startsWith('snapshot') ? ACK : REFUSAL));
  await agent.connections(1);
  await t.throwsAsync(agent.server.add(agent.pod('x')), { code: 'ERR_ZDS', message: /refused the pod: no/ });
  await t.throwsAsync(agent.server.delete('x'), { code: 'ERR_ZDS' });
});

test('a tunnel that dies with a request open fails that request at once', async (t) => {
  await using agent = await Agent.start();
  await using tunnel = await Tunnel.connect(agent);
  t.is(await tunnel.next(), 'snapshotSent');
  await tunnel.send(ACK);
  const added = agent.server.add(agent.pod('x'));
  await tunnel.next();
  await tunnel[Symbol.asyncDispose]();
  await t.throwsAsync(added, { code: 'ERR_ZDS' });
  await agent.connections(0);
});

const breaks = test.macro(async (t, hello: Uint8Array, act: (tunnel: Tunnel) => Promise<void>) => {
  await using agent = await Agent.start();
  await using tunnel = await Tunnel.connect(agent, hello);
  await act(tunnel);
  while ((await tunnel.next()) !== undefined);
  await agent.connections(0);
  await using other = await Tunnel.connect(agent); // the server goes on
  void other.answerAll();
  await eventually(() => other.requests.includes('snapshotSent'));
  t.is(agent.server.connections, 1);
});
test('cut: a hello of another version', breaks, Buffer.from('0802', 'hex'), async () => {});
test('cut: bytes that are no hello', breaks, Buffer.from('ffff', 'hex'), async () => {});
test('cut: a message longer than allowed is no message', breaks, NOTHING, (tunnel) =>
  tunnel.send(Buffer.alloc(1_024, 0xff)),
);
test('cut: speaking without being asked', breaks, HELLO, async (tunnel) => {
  await tunnel.next();
  await tunnel.send(ACK);
  await tunnel.send(ACK);
});
test('cut: an answer that is no acknowledgement', breaks, HELLO, async (tunnel) => {
  await tunnel.next();
  await tunnel.send(Buffer.from('1200', 'hex'));
});
test('cut: a descriptor, which is closed', breaks, HELLO, async (tunnel) => {
  await tunnel.next();
  using netns = Netns.current();
  await tunnel.send(ACK, netns.fd);
});

test('a stale socket file is replaced, and none is left', async (t) => {
  const agent = await Agent.start();
  const dir = join(agent.path, '..');
  t.deepEqual(readdirSync(dir), ['ztunnel.sock']);
  await agent.server[Symbol.asyncDispose]();
  t.deepEqual(readdirSync(dir), []);
  agent.netns[Symbol.dispose]();
  rmSync(dir, { recursive: true });
});

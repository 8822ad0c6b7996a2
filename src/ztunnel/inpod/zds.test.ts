import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import test from 'ava';
import fc from 'fast-check';
import { ManualClock, settled } from '../../../test/support/manual-clock.ts';
import { silentLogger } from '../../core/logger.ts';
import { WorkloadRequestSchema, WorkloadResponseSchema } from '../../gen/zds_pb.js';
import type { PodInfo } from '../state/workload-index.ts';
import { type NetnsHandle, PodProxies } from './pod-proxies.ts';
import { runZdsClient, type ZdsConnection } from './zds-client.ts';
import { decodeRequest, encodeAck, encodeHello } from './zds-codec.ts';
import { ZdsSession } from './zds-session.ts';

const INFO: PodInfo = { name: 'web', namespace: 'default', serviceAccount: 'web' };
type Payload = NonNullable<Parameters<typeof create<typeof WorkloadRequestSchema>>[1]>['payload'];
const request = (payload: Payload): Uint8Array =>
  toBinary(WorkloadRequestSchema, create(WorkloadRequestSchema, payload ? { payload } : {}));
const add = (uid: string, workloadInfo: PodInfo | undefined = INFO): Uint8Array =>
  request({ case: 'add', value: workloadInfo ? { uid, workloadInfo } : { uid } });
const addWithoutInfo = (uid: string): Uint8Array => request({ case: 'add', value: { uid } });
const del = (uid: string): Uint8Array => request({ case: 'del', value: { uid } });
const keep = (uid: string): Uint8Array => request({ case: 'keep', value: { uid } });
const snapshotSent = request({ case: 'snapshotSent', value: {} });
const ackError = (data: Uint8Array): string | undefined => {
  const { payload } = fromBinary(WorkloadResponseSchema, data);
  return payload.case === 'ack' ? payload.value.error : undefined;
};

// --- codec -----------------------------------------------------------------------------------------------------------

test('hello is version 1', (t) => t.deepEqual([...encodeHello()], [8, 1]));
test('an add carries uid and pod', (t) => t.deepEqual(decodeRequest(add('u')), { kind: 'add', uid: 'u', info: INFO }));
test('a del has its uid in field 2', (t) =>
  t.deepEqual(decodeRequest(Uint8Array.from([18, 3, 18, 1, 117])), { kind: 'del', uid: 'u' }));
test('an ack stays below the packet size', (t) => t.true(encodeAck('x'.repeat(5_000)).length < 1_024));
test('no bytes crash the session', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.uint8Array({ maxLength: 64 }), fc.nat(3)), { maxLength: 6 }), (packets) => {
      const session = new ZdsSession();
      for (const [data, fds] of packets) t.truthy(session.receive(data, fds).kind);
    }),
  );
});

// --- session ---------------------------------------------------------------------------------------------------------

test('a snapshot names the pods that stay', (t) => {
  const session = new ZdsSession();
  session.receive(add('a'), 1);
  session.receive(keep('b'), 0);
  session.receive(add('c'), 1);
  session.receive(del('c'), 0);
  t.deepEqual(session.receive(snapshotSent, 0), { kind: 'retain', uids: new Set(['a', 'b']) });
  t.true(session.hasSnapshot);
  t.is(session.receive(add('d'), 1).kind, 'add');
});

const refuses = test.macro((t, packets: readonly (readonly [Uint8Array, number])[], error: RegExp) => {
  const session = new ZdsSession();
  const steps = packets.map(([data, fds]) => session.receive(data, fds));
  const last = steps.at(-1);
  t.true(last?.kind === 'refuse' && error.test(last.error), JSON.stringify(last));
  t.is(session.receive(del('x'), 0).kind, 'refuse');
});
test('an add without descriptor is refused', refuses, [[add('a'), 0]], /^failure to read message : add with 0/);
test('an add with two descriptors is refused', refuses, [[add('a'), 2]], /^failure to read message : add with 2/);
test('a del with a descriptor is refused', refuses, [[del('a'), 1]], /^failure to read message : del with 1/);
test('an add without pod is refused', refuses, [[addWithoutInfo('a'), 1]], /add without workload info/);
test(
  'a keep after the snapshot is refused',
  refuses,
  [
    [snapshotSent, 0],
    [keep('a'), 0],
  ],
  /keep after the snapshot/,
);
test(
  'a second snapshot is refused',
  refuses,
  [
    [snapshotSent, 0],
    [snapshotSent, 0],
  ],
  /second snapshot/,
);
test('an empty request is refused', refuses, [[new Uint8Array(), 0]], /^failure to read message/);

// --- pods ------------------------------------------------------------------------------------------------------------

class FakeNetns implements NetnsHandle {
  readonly id: string;
  isOpen = true;
  constructor(id: string) {
    this.id = id;
  }
  [Symbol.dispose](): void {
    if (!this.isOpen) throw new Error('closed twice');
    this.isOpen = false;
  }
}

class Node {
  readonly clock = new ManualClock();
  readonly started: string[] = [];
  readonly drained: [string, number][] = [];
  fail = false;
  readonly abort = new AbortController();
  readonly pods = new PodProxies<FakeNetns>(
    {
      startProxy: async (owner) => {
        if (this.fail) throw new Error('address in use');
        this.started.push(owner);
        return { drain: async (deadlineMs) => void this.drained.push([owner, deadlineMs]) };
      },
      clock: this.clock,
      log: silentLogger,
      drainMs: 30_000,
      changed: () => {},
      passQueuesOn: () => {},
      metrics: { started() {}, stopped() {} },
    },
    this.abort.signal,
  );
}

test('the same namespace twice starts one proxy and closes the second descriptor', async (t) => {
  const { pods, started } = new Node();
  const [first, second] = [new FakeNetns('1'), new FakeNetns('1')];
  await pods.add('u', INFO, first);
  await pods.add('u', INFO, second);
  t.deepEqual(started, ['u#1']);
  t.true(first.isOpen);
  t.false(second.isOpen);
});

test('another namespace replaces the proxy at once', async (t) => {
  const { pods, started, drained } = new Node();
  const first = new FakeNetns('1');
  await pods.add('u', INFO, first);
  await pods.add('u', INFO, new FakeNetns('2'));
  await settled();
  t.deepEqual(started, ['u#1', 'u#2']);
  t.deepEqual(drained, [['u#1', 0]]);
  t.false(first.isOpen);
  t.is(pods.active, 1);
});

test('a proxy that cannot start is pending and tried again after 5 seconds', async (t) => {
  const node = new Node();
  node.fail = true;
  await t.throwsAsync(node.pods.add('u', INFO, new FakeNetns('1')), { message: 'address in use' });
  t.is(node.pods.pending, 1);
  await node.clock.advance(5_000);
  t.is(node.pods.pending, 1);
  node.fail = false;
  await node.clock.advance(5_000);
  t.is(node.pods.pending, 0);
  t.is(node.started.length, 1);
});

test('a pending pod that is added again is started once', async (t) => {
  const node = new Node();
  node.fail = true;
  const first = new FakeNetns('1');
  await t.throwsAsync(node.pods.add('u', INFO, first));
  node.fail = false;
  await node.pods.add('u', INFO, new FakeNetns('2'));
  await node.clock.advance(5_000);
  t.is(node.started.length, 1);
  t.false(first.isOpen);
});

test('deleting a pending pod ends the retries', async (t) => {
  const node = new Node();
  node.fail = true;
  const netns = new FakeNetns('1');
  await t.throwsAsync(node.pods.add('u', INFO, netns));
  node.pods.delete('u');
  node.fail = false;
  await node.clock.advance(5_000);
  t.is(node.started.length, 0);
  t.false(netns.isOpen);
});

test('a pod may have a drain time of its own, and have it changed', async (t) => {
  const { pods, drained } = new Node();
  await pods.add('u', { ...INFO, drainMs: 90_000 }, new FakeNetns('1'));
  await pods.add('v', { ...INFO, drainMs: 1 }, new FakeNetns('2'));
  await pods.add('v', { ...INFO, drainMs: 2 }, new FakeNetns('2'));
  pods.delete('v');
  t.deepEqual(drained, [['v#2', 2]]);
  await pods.drainAll(5_000);
  t.deepEqual(drained.at(-1), ['u#1', 5_000], 'the tunnel itself cannot wait for longer than it has');
});

test('after a delete open connections may go on until the drain limit', async (t) => {
  const { pods, drained } = new Node();
  await pods.add('u', INFO, new FakeNetns('1'));
  pods.delete('u');
  t.deepEqual(drained, [['u#1', 30_000]]);
  t.is(pods.active, 0);
});

test('a deleted pod can be added again with the same namespace', async (t) => {
  const { pods, started } = new Node();
  await pods.add('u', INFO, new FakeNetns('1'));
  pods.delete('u');
  await pods.add('u', INFO, new FakeNetns('1'));
  t.deepEqual(started, ['u#1', 'u#2']);
});

test('a snapshot removes what it does not name', async (t) => {
  const { pods } = new Node();
  await pods.add('a', INFO, new FakeNetns('1'));
  await pods.add('b', INFO, new FakeNetns('2'));
  pods.retain(new Set(['b']));
  t.deepEqual(
    Array.from(pods.states(), ({ uid }) => uid),
    ['b'],
  );
});

// --- client ----------------------------------------------------------------------------------------------------------

interface Packet {
  readonly data: Uint8Array;
  readonly fds: readonly number[];
}

class FakeConnection implements ZdsConnection {
  readonly sent: Uint8Array[] = [];
  readonly #packets: Packet[];
  isClosed = false;
  constructor(packets: Packet[]) {
    this.#packets = packets;
  }
  async send(data: Uint8Array): Promise<void> {
    this.sent.push(data);
  }
  async receive(): Promise<Packet | undefined> {
    return this.#packets.shift();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    this.isClosed = true;
  }
}

function runClient(connections: (FakeConnection | Error)[]) {
  const node = new Node();
  const synced: boolean[] = [];
  const closed: number[] = [];
  const waits: number[] = [];
  const abort = new AbortController();
  const done = runZdsClient(
    {
      connect: async () => {
        const next = connections.shift();
        if (next instanceof Error) throw next;
        if (!next) {
          abort.abort();
          throw new Error('no more');
        }
        return next;
      },
      adoptNetns: (fd) => new FakeNetns(String(fd)),
      closeFd: (fd) => closed.push(fd),
      pods: node.pods,
      clock: { ...node.clock, nowMs: () => 0, monotonicMs: () => 0, sleep: async (ms) => void waits.push(ms) },
      log: silentLogger,
      synced: (isSynced) => synced.push(isSynced),
      refused: () => {},
    },
    abort.signal,
  );
  return { node, synced, closed, waits, done };
}

test('the client says hello and answers every request', async (t) => {
  const connection = new FakeConnection([
    { data: add('a'), fds: [7] },
    { data: snapshotSent, fds: [] },
    { data: del('a'), fds: [] },
  ]);
  const { node, synced, done } = runClient([connection]);
  await done;
  t.deepEqual(connection.sent[0], encodeHello());
  t.deepEqual(connection.sent.slice(1).map(ackError), ['', '', '']);
  t.deepEqual(synced, [true, false]);
  t.is(node.pods.active, 0);
  t.true(connection.isClosed);
});

test('a lost connection keeps the proxies', async (t) => {
  const first = new FakeConnection([
    { data: add('a'), fds: [7] },
    { data: snapshotSent, fds: [] },
  ]);
  const second = new FakeConnection([
    { data: keep('a'), fds: [] },
    { data: snapshotSent, fds: [] },
  ]);
  const { node, done } = runClient([first, second]);
  await done;
  t.is(node.pods.active, 1);
  t.is(node.started.length, 1);
});

test('a broken rule is answered, surplus descriptors are closed and the client reconnects', async (t) => {
  const first = new FakeConnection([
    { data: del('a'), fds: [5, 6] },
    { data: add('never'), fds: [8] },
  ]);
  const second = new FakeConnection([{ data: snapshotSent, fds: [] }]);
  const { synced, closed, done } = runClient([first, second]);
  await done;
  t.regex(first.sent.slice(1).map(ackError)[0] ?? '', /^failure to read message/);
  t.deepEqual(closed, [5, 6]);
  t.true(first.isClosed);
  t.deepEqual(synced, [false, true, false]);
});

test('a proxy that cannot start is answered with the reason and the connection stays', async (t) => {
  const connection = new FakeConnection([
    { data: add('a'), fds: [7] },
    { data: snapshotSent, fds: [] },
  ]);
  const client = runClient([connection]);
  client.node.fail = true;
  await client.done;
  t.deepEqual(connection.sent.slice(1).map(ackError), ['failure to start proxy : address in use', '']);
});

test('failed connections back off up to one second', async (t) => {
  const { waits, done } = runClient(Array.from({ length: 8 }, () => new Error('refused')));
  await done;
  t.deepEqual(waits, [20, 40, 80, 160, 250, 250, 250, 250]);
});

/** ebpf-loader-ts on the running kernel. */
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  BpfError,
  BpfLink,
  BpfMap,
  BpfObject,
  BpfProgram,
  possibleCpus,
  probe,
  RingBuffer,
  unpin,
} from 'ebpf-loader-ts';
import { eventually } from '../support/eventually.ts';
import { compileProgram } from './compile.ts';
import { NodeCgroup } from './node-cgroup.ts';

const trial = compileProgram('trial');
const PACKET = Buffer.alloc(64);
const u32 = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer);
const u64 = (value: bigint): Buffer => Buffer.from(BigUint64Array.of(value).buffer);

function load(constants: Record<string, number | Uint8Array> = {}): BpfObject {
  const object = BpfObject.open(trial, { name: 'trial' });
  if (Object.keys(constants).length > 0) object.setRodata(constants);
  object.load();
  return object;
}

test('constants set before load are what the program computes with', (t) => {
  using plain = load();
  using changed = load({ answer: 40, small: 1, bytes: Buffer.from([1, 0, 0, 0]) });
  t.is(plain.program('on_packet').testRun({ data: PACKET }).returned, 3);
  t.is(changed.program('on_packet').testRun({ data: PACKET }).returned, 42);
});

test('constants that do not exist or do not fit are refused', (t) => {
  using object = BpfObject.open(trial);
  t.is(t.throws(() => object.setRodata({ nothing: 1 }), { instanceOf: BpfError })?.code, 'ENOENT');
  t.is(t.throws(() => object.setRodata({ small: 70_000 }), { instanceOf: BpfError })?.code, 'EINVAL');
  t.is(t.throws(() => object.setRodata({ bytes: Buffer.alloc(3) }), { instanceOf: BpfError })?.code, 'EINVAL');
});

test('what is no object file is refused', (t) => {
  for (const bytes of [Buffer.alloc(0), Buffer.from('not an object'), trial.subarray(0, 100)]) {
    t.throws(() => BpfObject.open(bytes), { instanceOf: BpfError });
  }
});

test("the verifier's reason is in the error", (t) => {
  using object = BpfObject.open(compileProgram('rejected'));
  const error = t.throws(() => object.load(), { instanceOf: BpfError });
  t.is(error?.code, 'EACCES');
  t.regex(error?.verifierLog ?? '', /map_value_or_null/);
});

test('entries are written, read, walked and deleted', (t) => {
  using object = load();
  using table = object.map('table');
  t.like(table, { keySize: 4, valueSize: 8, maxEntries: 64 });
  t.is(table.get(u32(7)), undefined);
  for (let key = 0; key < 64; key++) table.set(u32(key), u64(BigInt(key) * 3n));
  t.deepEqual(
    [...table.entries()]
      .map(([key, value]) => [key.readUInt32LE(), value.readBigUInt64LE()])
      .sort((a, b) => Number(a[0]) - Number(b[0])),
    Array.from({ length: 64 }, (_, key) => [key, BigInt(key) * 3n]),
  );
  t.is(t.throws(() => table.set(u32(64), u64(1n)), { instanceOf: BpfError })?.code, 'E2BIG');
  t.is(t.throws(() => table.set(u32(1), u64(1n), 'create'), { instanceOf: BpfError })?.code, 'EEXIST');
  t.is(t.throws(() => table.set(Buffer.alloc(3), u64(1n)), { instanceOf: BpfError })?.code, 'EINVAL');
  t.true(table.delete(u32(7)));
  t.false(table.delete(u32(7)));
  t.is([...table.keys()].length, 63);
});

test('a per-CPU map has a value for each CPU', (t) => {
  using object = load();
  using runs = object.map('runs');
  using program = object.program('on_packet');
  program.testRun({ data: PACKET, repeat: 5 });
  const values = runs.getPerCpu(u32(0)) ?? [];
  t.is(values.length, possibleCpus());
  t.is(
    values.reduce((sum, value) => sum + value.readBigUInt64LE(), 0n),
    5n,
  );
});

test('records of a ring buffer are delivered in order', async (t) => {
  using object = load();
  using map = object.map('ring');
  using program = object.program('on_packet');
  const ring = new RingBuffer(map);
  const lengths: number[] = [];
  const reading = (async () => {
    for await (const record of ring) if (lengths.push(record.readUInt32LE()) === 3) ring[Symbol.dispose]();
  })();
  for (const length of [60, 70, 80]) program.testRun({ data: Buffer.alloc(length) });
  await reading;
  t.deepEqual(lengths, [60, 70, 80]);
  t.is(ring.dropped, 0);
});

test('a reader that does not keep up loses the newest records, counted', async (t) => {
  using object = load();
  using map = object.map('ring');
  using program = object.program('on_packet');
  using ring = new RingBuffer(map, { queueMax: 10 });
  program.testRun({ data: PACKET, repeat: 500 });
  await eventually(() => ring.dropped === 490);
  const got: Buffer[] = [];
  for await (const record of ring) if (got.push(record) === 10) break;
  t.is(got.length, 10);
});

test('a process ends though a ring buffer is open and nobody waits', (t) => {
  const source = `import { BpfObject, RingBuffer } from 'ebpf-loader-ts';
    import { readFileSync } from 'node:fs';
    const object = BpfObject.open(readFileSync(0));
    object.load();
    new RingBuffer(object.map('ring'));`;
  const args = ['--input-type=module', '-e', source];
  t.is(spawnSync(process.execPath, args, { input: trial, timeout: 20_000 }).status, 0);
});

test.serial('a link attaches, is updated in place, is pinned, found again and detached', async (t) => {
  await using cgroup = await NodeCgroup.create();
  using object = load();
  using refuse = object.program('refuse_sockets');
  using allow = object.program('allow_sockets');
  const pin = join('/sys/fs/bpf', `cvt-bpf-${process.pid}-link`);
  t.teardown(() => rmSync(pin, { force: true }));
  t.true(canMakeSocket(cgroup.pods));
  let id: number;
  {
    using link = refuse.attachCgroup(cgroup.pods);
    t.false(canMakeSocket(cgroup.pods));
    link.update(allow);
    t.true(canMakeSocket(cgroup.pods));
    link.update(refuse);
    link.pin(pin);
    id = link.info().id;
  }
  t.false(canMakeSocket(cgroup.pods), 'pinned, it outlives its handle');
  {
    using link = BpfLink.openPinned(pin);
    t.is(link?.info().id, id);
    t.is(link?.info().programId, refuse.id);
  }
  t.true(unpin(pin));
  t.false(unpin(pin));
  t.true(canMakeSocket(cgroup.pods), 'without pin and handle it is gone');
  t.is(BpfLink.openPinned(pin), undefined);
});

test.serial('maps and programs are pinned and opened again, and a pinned map is reused', async (t) => {
  await using cgroup = await NodeCgroup.create();
  const base = join('/sys/fs/bpf', `cvt-bpf-${process.pid}-pin`);
  const pins = [`${base}-map`, `${base}-program`];
  t.teardown(() => {
    for (const pin of pins) rmSync(pin, { force: true });
  });
  t.truthy(cgroup.pods);
  {
    using object = load();
    using table = object.map('table');
    table.set(u32(1), u64(99n));
    table.pin(`${base}-map`);
    using program = object.program('on_packet');
    program.pin(`${base}-program`);
  }
  using program = BpfProgram.openPinned(`${base}-program`);
  t.is(program.testRun({ data: PACKET }).returned, 3);
  using pinned = BpfMap.openPinned(`${base}-map`);
  using next = BpfObject.open(trial);
  next.reuseMap('table', pinned);
  next.load();
  using table = next.map('table');
  t.is(table.id, pinned.id);
  t.is(table.get(u32(1))?.readBigUInt64LE(), 99n);
  using other = BpfObject.open(trial);
  t.is(t.throws(() => other.reuseMap('runs', pinned), { instanceOf: BpfError })?.code, 'EINVAL');
});

test('the kernel is asked for its features', (t) => {
  t.true(probe({ program: 'sk_lookup' }));
  t.true(probe({ map: 'sockhash' }));
  t.true(probe({ helper: 'get_netns_cookie', in: 'sock_ops' }));
  t.false(probe({ helper: 'sk_assign', in: 'sock_ops' }));
});

test('closed and foreign handles are refused', (t) => {
  using object = load();
  const table = object.map('table');
  table[Symbol.dispose]();
  table[Symbol.dispose]();
  t.throws(() => table.get(u32(1)), { message: /closed/ });
  object[Symbol.dispose]();
  t.throws(() => object.map('table'), { message: /closed/ });
});

test.serial('a thousand loads leave no descriptor', (t) => {
  const cycle = (): void => {
    using object = load();
    using _table = object.map('table');
    using _program = object.program('on_packet');
  };
  cycle();
  const before = readdirSync('/proc/self/fd').length;
  for (let count = 0; count < 1_000; count++) cycle();
  t.is(readdirSync('/proc/self/fd').length, before);
});

/** In a process of that cgroup. */
function canMakeSocket(cgroup: string): boolean {
  const script = `echo $$ > ${cgroup}/cgroup.procs && exec bash -c ': > /dev/udp/127.0.0.1/9'`;
  return spawnSync('bash', ['-c', script]).status === 0;
}

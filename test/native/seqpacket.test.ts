/** Messages and descriptors over a unix SOCK_SEQPACKET connection. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import {
  closeFd,
  Netns,
  NetnsError,
  SEQPACKET_BYTES_MAX,
  type SeqpacketMessage,
  SeqpacketServer,
  SeqpacketSocket,
} from 'culvert-netns';
import { openDescriptors, removeLeftNamespaces, TestNamespace } from './namespace.ts';

test.before(removeLeftNamespaces);

class Pair implements AsyncDisposable {
  readonly directory: string;
  readonly path: string;
  readonly server: SeqpacketServer;
  readonly near: SeqpacketSocket;
  readonly far: SeqpacketSocket;

  private constructor(directory: string, server: SeqpacketServer, near: SeqpacketSocket, far: SeqpacketSocket) {
    this.directory = directory;
    this.path = server.path;
    this.server = server;
    this.near = near;
    this.far = far;
  }

  static async open(): Promise<Pair> {
    const directory = mkdtempSync(join(tmpdir(), 'cvt-seq-'));
    const server = await SeqpacketServer.listen(join(directory, 's.sock'), 0o600);
    const near = await SeqpacketSocket.connect(server.path);
    const far = await server.accept();
    if (far === undefined) throw new Error('the server is closed');
    return new Pair(directory, server, near, far);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.near.close();
    this.far.close();
    this.server.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

async function rejectionCode(t: ExecutionContext, promise: Promise<unknown>): Promise<string> {
  const error = await t.throwsAsync(promise);
  if (error instanceof NetnsError) return error.code;
  throw error;
}

function arrived(message: SeqpacketMessage | undefined): SeqpacketMessage {
  if (message === undefined) throw new Error('the connection has ended');
  return message;
}

/** Python sends what our own send() refuses to. */
async function sendFromPython(path: string, statement: string): Promise<void> {
  const script = `import array,os,socket,sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
def fds(n): return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [os.open('/dev/null', os.O_RDONLY) for _ in range(n)]))]
${statement}`;
  await promisify(execFile)('python3', ['-c', script, path], { timeout: 10_000 });
}

test('messages keep their bounds and their order, both ways', async (t) => {
  await using pair = await Pair.open();
  const texts = Array.from({ length: 50 }, (_, i) => `message ${i}`);
  await Promise.all(texts.map((text) => pair.near.send(Buffer.from(text))));
  for (const text of texts) t.is(arrived(await pair.far.receive()).data.toString(), text);
  await pair.far.send(Buffer.alloc(SEQPACKET_BYTES_MAX, 7));
  const answer = arrived(await pair.near.receive());
  t.is(answer.data.length, SEQPACKET_BYTES_MAX);
  t.deepEqual(answer.fds, []);
});

test('a namespace descriptor arrives and means the same namespace', async (t) => {
  using ns = new TestNamespace();
  await using pair = await Pair.open();
  await pair.near.send(Buffer.from('add'), ns.netns.fd);
  const { fds } = arrived(await pair.far.receive());
  t.is(fds.length, 1);
  using received = Netns.adopt(fds[0] ?? -1);
  t.is(received.id, ns.netns.id);
  t.not(received.fd, ns.netns.fd);
});

test('the sender keeps its descriptor and the receiver owns a copy of its own', async (t) => {
  await using pair = await Pair.open();
  const path = join(pair.directory, 'file');
  writeFileSync(path, 'content');
  const fd = openSync(path, 'r');
  await pair.near.send(Buffer.from('x'), fd);
  closeSync(fd);
  const received = arrived(await pair.far.receive()).fds[0] ?? -1;
  const buffer = Buffer.alloc(16);
  t.is(buffer.toString('utf8', 0, readSync(received, buffer)), 'content');
  closeFd(received);
});

test('the peer is known by its credentials', async (t) => {
  await using pair = await Pair.open();
  t.deepEqual(pair.far.peer, { pid: process.pid, uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 });
});

test('the socket file has the mode that was asked for, whatever the umask', async (t) => {
  await using pair = await Pair.open();
  t.is(statSync(pair.path).mode & 0o777, 0o600);
  const path = join(pair.directory, 'open.sock');
  await using server = await SeqpacketServer.listen(path, 0o666);
  t.is(statSync(server.path).mode & 0o777, 0o666);
});

test('a stale socket is replaced, a file is not, and a successor keeps its socket', async (t) => {
  await using pair = await Pair.open();
  const successor = await SeqpacketServer.listen(pair.path, 0o600);
  pair.server.close();
  const client = await SeqpacketSocket.connect(pair.path);
  const far = await successor.accept();
  t.truthy(far);
  far?.close();
  client.close();
  successor.close();
  t.is(await rejectionCode(t, SeqpacketSocket.connect(pair.path)), 'ENOENT');
  const file = join(pair.directory, 'file');
  writeFileSync(file, 'content');
  t.is(await rejectionCode(t, SeqpacketServer.listen(file, 0o600)), 'EEXIST');
  t.is(await rejectionCode(t, SeqpacketSocket.connect(file)), 'ECONNREFUSED');
  t.is(await rejectionCode(t, SeqpacketSocket.connect(`/tmp/${'x'.repeat(120)}`)), 'ENAMETOOLONG');
});

test('messages that cannot be sent are refused', async (t) => {
  await using pair = await Pair.open();
  t.is(await rejectionCode(t, pair.near.send(Buffer.alloc(SEQPACKET_BYTES_MAX + 1))), 'EMSGSIZE');
  t.is(await rejectionCode(t, pair.near.send(Buffer.alloc(0))), 'EINVAL');
  t.is(await rejectionCode(t, pair.near.send(Buffer.from('x'), 99_999)), 'EBADF');
  await pair.near.send(Buffer.from('still works'));
  t.is(arrived(await pair.far.receive()).data.toString(), 'still works');
});

test('a peer that does not read holds the sender, in bounds, and loses nothing', async (t) => {
  await using pair = await Pair.open();
  const results: string[] = [];
  const sending: Promise<void>[] = [];
  for (let i = 0; i < 2_000 && !results.includes('ENOBUFS'); i++) {
    const message = Buffer.alloc(SEQPACKET_BYTES_MAX, String(i).padStart(4, '0'));
    sending.push(
      pair.near.send(message).then(
        () => void results.push('sent'),
        (error: NetnsError) => void results.push(error.code),
      ),
    );
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.true(results.includes('ENOBUFS'));
  for (let i = 0; i < sending.length - 1; i++)
    t.is(arrived(await pair.far.receive()).data.toString('utf8', 0, 4), String(i).padStart(4, '0'));
  await Promise.all(sending);
  t.is(results.filter((result) => result === 'sent').length, sending.length - 1);
});

test.serial('a message that is cut off is an error and its descriptor is closed', async (t) => {
  await using pair = await Pair.open();
  const before = openDescriptors().size;
  await sendFromPython(pair.path, "s.sendmsg([b'x' * 1025], fds(1))");
  const far = await pair.server.accept();
  t.is(await rejectionCode(t, far?.receive() ?? Promise.resolve()), 'EMSGSIZE');
  far?.close();
  t.is(openDescriptors().size, before);
});

for (const count of [2, 10, 253]) {
  test.serial(`${count} descriptors in one message are an error and all are closed`, async (t) => {
    await using pair = await Pair.open();
    const before = openDescriptors().size;
    await sendFromPython(pair.path, `s.sendmsg([b'x'], fds(${count}))\ns.send(b'next')`);
    const far = await pair.server.accept();
    const error = await t.throwsAsync(far?.receive() ?? Promise.resolve());
    t.true(error instanceof NetnsError && error.code === 'EPROTO');
    t.regex(error?.message ?? '', new RegExp(`^EPROTO: ${count} descriptors`));
    t.is(arrived(await far?.receive()).data.toString(), 'next');
    far?.close();
    t.is(openDescriptors().size, before);
  });
}

test.serial('a descriptor without a message is an error and is closed', async (t) => {
  await using pair = await Pair.open();
  const before = openDescriptors().size;
  await sendFromPython(pair.path, "s.sendmsg([b''], fds(1))");
  const far = await pair.server.accept();
  t.is(await rejectionCode(t, far?.receive() ?? Promise.resolve()), 'EPROTO');
  far?.close();
  t.is(openDescriptors().size, before);
});

test('giving up a receive loses no message', async (t) => {
  await using pair = await Pair.open();
  const abort = new AbortController();
  const waiting = pair.far.receive(abort.signal);
  t.is(await rejectionCode(t, pair.far.receive()), 'EBUSY');
  abort.abort();
  t.is(await rejectionCode(t, waiting), 'ECANCELED');
  await pair.near.send(Buffer.from('late'));
  t.is(arrived(await pair.far.receive()).data.toString(), 'late');
});

test('closing ends what waits here, and is an end there', async (t) => {
  await using pair = await Pair.open();
  const here = pair.near.receive();
  const there = pair.far.receive();
  const accepting = pair.server.accept();
  pair.near.close();
  pair.near.close();
  t.is(await rejectionCode(t, here), 'ECANCELED');
  t.is(await there, undefined);
  t.is(await rejectionCode(t, pair.far.send(Buffer.from('x'))), 'EPIPE');
  t.is(await rejectionCode(t, pair.near.send(Buffer.from('x'))), 'ECANCELED');
  pair.server.close();
  t.is(await accepting, undefined);
  t.is(await pair.server.accept(), undefined);
});

test('an accept that is given up leaves the server working', async (t) => {
  await using pair = await Pair.open();
  const abort = new AbortController();
  const waiting = pair.server.accept(abort.signal);
  abort.abort();
  t.is(await rejectionCode(t, waiting), 'ECANCELED');
  const client = await SeqpacketSocket.connect(pair.path);
  const far = await pair.server.accept();
  t.truthy(far);
  far?.close();
  client.close();
});

test('the death of the peer is an end', async (t) => {
  await using pair = await Pair.open();
  const script = `import socket,sys,time
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1]); s.send(b'alive'); time.sleep(600)`;
  const child = spawn('python3', ['-c', script, pair.path]);
  const far = await pair.server.accept();
  t.is(arrived(await far?.receive()).data.toString(), 'alive');
  t.is(far?.peer.pid, child.pid);
  const end = far?.receive();
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.is(await end, undefined);
  far?.close();
});

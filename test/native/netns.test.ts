/** Handles of network namespaces, and that no JavaScript thread ever leaves its own. */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import {
  addRule,
  createNetns,
  listenTcp,
  localAddresses,
  Netns,
  NetnsError,
  removeNetns,
  socketNetnsCookie,
} from 'culvert-netns';
import { openDescriptors, removeLeftNamespaces, TestNamespace } from './namespace.ts';

test.before(removeLeftNamespaces);

function scratch(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'cvt-netns-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

const code = (t: { throws: (f: () => unknown) => unknown }, f: () => unknown): string | undefined => {
  const error = t.throws(f);
  return error instanceof NetnsError ? error.code : undefined;
};

test('the same namespace has the same id through every handle, another one has another', (t) => {
  using a = new TestNamespace();
  using b = new TestNamespace();
  using opened = Netns.open(a.path);
  using copy = a.netns.duplicate();
  t.is(opened.id, a.netns.id);
  t.is(copy.id, a.netns.id);
  t.not(copy.fd, a.netns.fd);
  t.not(b.netns.id, a.netns.id);
  const { dev, ino } = statSync(a.path, { bigint: true });
  t.is(a.netns.id, `${dev}:${ino}`);
});

test('the cookie is that of the sockets made inside, and of no other namespace', (t) => {
  using a = new TestNamespace();
  using here = Netns.current();
  using listener = listenTcp(a.netns, { ip: '127.0.0.1', port: 0 }, () => undefined);
  t.is(socketNetnsCookie(listener.fd), a.netns.cookie());
  t.not(here.cookie(), a.netns.cookie());
});

test('a new namespace has loopback up and nothing else', (t) => {
  using a = new TestNamespace();
  t.deepEqual([...localAddresses(a.netns)].sort(), ['127.0.0.1', '::1']);
  t.regex(a.ip('link', 'show', 'lo'), /LOOPBACK,UP/);
});

test.serial('after dispose the handle is closed and says so', (t) => {
  using a = new TestNamespace();
  const copy = a.netns.duplicate();
  const { fd } = copy;
  copy[Symbol.dispose]();
  copy[Symbol.dispose]();
  t.false(openDescriptors().has(fd));
  t.is(
    code(t, () => copy.fd),
    'EBADF',
  );
  t.is(
    code(t, () => copy.cookie()),
    'EBADF',
  );
});

test.serial('what is not a network namespace is refused, and an adopted descriptor is closed all the same', (t) => {
  using dir = scratch();
  const file = join(dir.path, 'file');
  const fifo = join(dir.path, 'fifo');
  writeFileSync(file, '');
  execFileSync('mkfifo', [fifo]);
  for (const path of [file, fifo, dir.path, '/dev/null', '/proc/self/ns/mnt', '/proc/self/ns/user'])
    t.is(
      code(t, () => Netns.open(path)),
      'EINVAL',
      path,
    );
  t.is(
    code(t, () => Netns.open(join(dir.path, 'absent'))),
    'ENOENT',
  );
  t.is(
    code(t, () => Netns.open('/proc/self/ns/net\0x')),
    'EINVAL',
  );
  const fd = openSync('/proc/self/ns/uts', 'r');
  t.is(
    code(t, () => Netns.adopt(fd)),
    'EINVAL',
  );
  t.throws(() => closeSync(fd), { code: 'EBADF' });
});

test('making a namespace twice is EEXIST and removing it twice is no error', (t) => {
  using dir = scratch();
  const path = join(dir.path, 'deep', 'net');
  const netns = createNetns(path);
  try {
    t.is(
      code(t, () => createNetns(path)),
      'EEXIST',
    );
    t.is(netns.id, Netns.open(path).id);
  } finally {
    removeNetns(path);
    removeNetns(path);
    netns[Symbol.dispose]();
  }
  t.false(existsSync(path));
});

test('removal takes no ordinary file or folder away', (t) => {
  using dir = scratch();
  const file = join(dir.path, 'precious');
  writeFileSync(file, 'content');
  t.is(
    code(t, () => removeNetns(file)),
    'EINVAL',
  );
  t.is(
    code(t, () => removeNetns(dir.path)),
    'EINVAL',
  );
  t.true(existsSync(file));
});

test('after work in many namespaces every thread of the process is in its own', (t) => {
  const home = readlinkSync('/proc/self/ns/net');
  using a = new TestNamespace();
  for (let i = 0; i < 20; i++) {
    using listener = listenTcp(a.netns, { ip: '::1', port: 0 }, () => undefined);
    t.truthy(listener.address.port);
  }
  for (const task of readdirSync('/proc/self/task')) t.is(readlinkSync(`/proc/self/task/${task}/ns/net`), home);
  t.not(readlinkSync('/proc/self/ns/net'), `net:[${statSync(a.path).ino}]`);
});

test('an argument that is none is refused before the kernel sees it', (t) => {
  using a = new TestNamespace();
  t.is(
    code(t, () => listenTcp(a.netns, { ip: 'localhost', port: 1 }, () => undefined)),
    'EINVAL',
  );
  t.is(
    code(t, () => listenTcp(a.netns, { ip: 'fe80::1%lo', port: 1 }, () => undefined)),
    'EINVAL',
  );
  t.is(
    code(t, () => listenTcp(a.netns, { ip: '127.0.0.1', port: 65_536 }, () => undefined)),
    'EINVAL',
  );
  t.is(
    code(t, () => listenTcp(a.netns, { ip: '127.0.0.1', port: 1, backlog: 0 }, () => undefined)),
    'EINVAL',
  );
  t.is(
    code(t, () => addRule(a.netns, { family: 4, fwmark: -1, mask: 1, table: 1, priority: 1 })),
    'EINVAL',
  );
});

/** A library that makes every second setns fail: the worker enters the namespace and cannot come back. */
const NO_WAY_BACK = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
int setns(int fd, int type)
{
	static int calls;
	int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "setns");
	if (++calls % 2 == 0) { errno = EPERM; return -1; }
	return real(fd, type);
}
`;

test('a worker that cannot come back is ended and replaced by one that starts at home', (t) => {
  using dir = scratch();
  using a = new TestNamespace();
  const source = join(dir.path, 'no-way-back.c');
  const library = join(dir.path, 'no-way-back.so');
  writeFileSync(source, NO_WAY_BACK);
  execFileSync('gcc', ['-shared', '-fPIC', '-o', library, source]);
  const script = `
    import { readdirSync, readlinkSync } from 'node:fs';
    import { setTimeout as delay } from 'node:timers/promises';
    import { Netns } from 'culvert-netns';
    const netns = Netns.open(process.argv[1]);
    const cookies = new Set();
    const threads = readdirSync('/proc/self/task').length;
    for (let i = 0; i < 50; i++) cookies.add(netns.cookie());
    const places = () => readdirSync('/proc/self/task').map((task) => {
      try { return readlinkSync('/proc/self/task/' + task + '/ns/net'); } catch { return readlinkSync('/proc/self/ns/net'); }
    });
    while (new Set(places()).size > 1) await delay(5);
    const left = readdirSync('/proc/self/task').length - threads;
    console.log(JSON.stringify({ cookies: [...cookies].map(String), left, places: [...new Set(places())] }));
  `;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script, a.path], {
    encoding: 'utf8',
    timeout: 30_000,
    env: { ...process.env, LD_PRELOAD: library },
  });
  const { cookies, left, places } = JSON.parse(output);
  t.deepEqual(cookies, [String(a.netns.cookie())]);
  t.true(left <= 1, `${left} threads left`);
  t.deepEqual(places, [readlinkSync('/proc/self/ns/net')]);
});

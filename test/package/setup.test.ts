/** The set-up script says in one line what is missing. It runs on a copy, with programs of its own on PATH. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import test from 'ava';

const ROOT = join(import.meta.dirname, '../..');
/** What the script may use of the machine; package tools and compilers are made up. */
const TOOLS = ['bash', 'cat', 'cut', 'dirname', 'grep', 'head', 'rm', 'sh', 'sha256sum', 'tail', 'env', 'sed'];
const READY = {
  uname: 'case "$1" in -s) echo Linux ;; -m) echo x86_64 ;; -r) echo 6.1.0-1-amd64 ;; esac',
  id: 'echo 0',
  'dpkg-query': 'echo installed',
  make: 'exit 0',
};

class Checkout implements Disposable {
  readonly #root = mkdtempSync(join(tmpdir(), 'cvt-setup-'));
  readonly #bin = join(this.#root, 'bin');

  /** Ready to go, but for what `programs` say in place of those of `READY`; undefined leaves one out. */
  constructor(programs: Readonly<Record<string, string | undefined>> = {}) {
    chmodSync(this.#root, 0o755);
    for (const folder of ['bin', 'scripts', 'node_modules/.bin'])
      mkdirSync(join(this.#root, folder), { recursive: true });
    for (const file of ['package.json', 'package-lock.json', 'scripts/setup.sh']) {
      copyFileSync(join(ROOT, file), join(this.#root, file));
    }
    const lock = createHash('sha256')
      .update(readFileSync(join(ROOT, 'package-lock.json')))
      .digest('hex');
    writeFileSync(join(this.#root, 'node_modules/.culvert-lock'), `${lock}\n`);
    symlinkSync(process.execPath, join(this.#root, 'node_modules/.bin/node'));
    for (const tool of TOOLS) symlinkSync(join('/usr/bin', tool), join(this.#bin, tool));
    for (const [name, script] of Object.entries({ ...READY, ...programs })) {
      if (script !== undefined) writeFileSync(join(this.#bin, name), `#!/bin/bash\n${script}\n`, { mode: 0o755 });
    }
  }

  /** As after a clone, of a project with one package: to ask for all of them takes npm a minute on a busy machine. */
  withoutModules(): void {
    rmSync(join(this.#root, 'node_modules'), { recursive: true });
    const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
    const name = 'node_modules/yaml';
    const one = { name: 'one', version: '1.0.0', dependencies: { yaml: lock.packages[name].version } };
    const packages = { '': one, [name]: lock.packages[name] };
    writeFileSync(join(this.#root, 'package.json'), JSON.stringify(one));
    writeFileSync(join(this.#root, 'package-lock.json'), JSON.stringify({ ...one, lockfileVersion: 3, packages }));
  }

  /** @param prefix stands before the command, by absolute paths */
  setup(prefix: readonly string[] = [], path: readonly string[] = []) {
    const [command = '', ...args] = [...prefix, '/bin/bash', join(this.#root, 'scripts/setup.sh')];
    const { status, stdout, stderr } = spawnSync(command, args, {
      encoding: 'utf8',
      env: {
        PATH: [this.#bin, ...path].join(delimiter),
        HOME: this.#root,
        npm_config_cache: join(this.#root, 'cache'),
        npm_config_fetch_retries: '0',
      },
      timeout: 50_000,
    });
    return { status, lines: `${stdout}${stderr}`.trim().split('\n').filter(Boolean) };
  }

  [Symbol.dispose](): void {
    rmSync(this.#root, { recursive: true, force: true });
  }
}

const says = test.macro((t, programs: Readonly<Record<string, string | undefined>>, expected: RegExp) => {
  using checkout = new Checkout(programs);
  const { status, lines } = checkout.setup();
  t.is(status, 1, lines.join('\n'));
  t.regex(lines.at(-1) ?? '', expected);
  t.true(
    lines.slice(0, -1).every((line) => line.startsWith('setup: installing')),
    lines.join('\n'),
  );
});

test('control: with everything there it says nothing, and ends well', (t) => {
  using checkout = new Checkout();
  t.deepEqual(checkout.setup(), { status: 0, lines: [] });
});

const uname = (changed: string): { uname: string } => ({ uname: `${changed}\n${READY.uname}` });
test(
  'not Linux',
  says,
  uname('[ "$1" = -s ] && echo Darwin && exit'),
  /^setup: Culvert runs on Linux; this is Darwin\.$/,
);
test(
  'another machine',
  says,
  uname('[ "$1" = -m ] && echo riscv64 && exit'),
  /^setup: there is no pinned .* riscv64; /,
);
test('an old kernel', says, uname('[ "$1" = -r ] && echo 5.10.0-9 && exit'), /^setup: kernel 5\.10\.0-9 is too old; /);
test('not root, as told by id', says, { id: 'echo 1000' }, /^setup: root is needed .*; try: sudo npm test$/);
test('no apt', says, { 'dpkg-query': 'exit 1' }, /^setup: apt-get is missing; install these yourself: gcc g\+\+ /);
test(
  'apt without a network',
  says,
  { 'dpkg-query': 'exit 1', 'apt-get': `echo "E: Could not resolve 'deb.debian.org'"; echo "W: more"; exit 100` },
  /^setup: apt could not install .* \(is there a network\?\): E: Could not resolve 'deb\.debian\.org'$/,
);

test('really not root', (t) => {
  using checkout = new Checkout({ id: undefined });
  const asNobody = ['/usr/bin/setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
  const { status, lines } = checkout.setup(asNobody, ['/usr/bin']);
  t.is(status, 1);
  t.deepEqual(lines.length, 1);
  t.regex(lines[0] ?? '', /^setup: root is needed/);
});

test('a kernel without network namespaces', (t) => {
  using checkout = new Checkout();
  const hidden = 'mount -t tmpfs none /proc && exec "$@"';
  const { status, lines } = checkout.setup([
    '/usr/bin/unshare',
    '--mount',
    '/bin/sh',
    '-c',
    `PATH=/usr/bin:/bin:$PATH; ${hidden}`,
    'sh',
  ]);
  t.is(status, 1);
  t.deepEqual(lines, ['setup: this kernel has no network namespaces.']);
});

test('npm without a network', (t) => {
  using checkout = new Checkout();
  checkout.withoutModules();
  const { status, lines } = checkout.setup(['/usr/bin/unshare', '--net'], ['/usr/local/bin', '/usr/bin', '/bin']);
  t.is(status, 1);
  t.is(lines[0], 'setup: installing npm packages');
  t.regex(lines.at(-1) ?? '', /^setup: npm ci failed \(is there a network\?\): npm error /);
  t.is(lines.length, 2, lines.join('\n'));
});

test('a native build that fails shows why before it says so', (t) => {
  using checkout = new Checkout({ make: 'echo "engine.cc:1: error: no"; exit 2' });
  const { status, lines } = checkout.setup();
  t.is(status, 1);
  t.deepEqual(lines, ['engine.cc:1: error: no', 'setup: the native build failed; see above.']);
});

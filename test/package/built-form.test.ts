/** The built form: plain JavaScript in a folder of its own, with the packages it depends on beside it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import test from 'ava';

const ROOT = join(import.meta.dirname, '../..');
const BIN = join(ROOT, 'node_modules/.bin');
const folder = mkdtempSync(join(tmpdir(), 'culvert-build-'));
const dist = join(folder, 'culvert');

test.before((t) => {
  t.timeout(120_000);
  const env = { ...process.env, PATH: [BIN, process.env.PATH].join(delimiter) };
  execFileSync(process.execPath, [join(ROOT, 'scripts/build.ts'), dist], { env, stdio: 'pipe' });
  // Stands for `npm ci --omit=dev`: found by looking upwards from the built files.
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
});

test.after.always(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the built command without any configuration and without stripping of types. */
function culvert(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const main = join(dist, 'src/cli/main.js');
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--no-strip-types', main, ...args], {
    encoding: 'utf8',
    env,
    cwd: folder,
    timeout: 30_000,
  });
  return { status, output: stdout + stderr };
}

test.serial('it says what it can do', (t) => {
  const { status, output } = culvert(['--help']);
  t.is(status, 0, output);
  for (const command of ['ztunnel', 'cni', 'controller', 'local']) t.regex(output, new RegExp(`^  ${command}\\b`, 'm'));
});

for (const [program, env, fault] of [
  ['ztunnel', { PROXY_MODE: 'none' }, /PROXY_MODE=none: expected/],
  ['cni', {}, /NODE_NAME is not set/],
  ['controller', {}, /RESOURCE_DIR is not set/],
] as const) {
  test.serial(`${program} is loaded whole and refuses its configuration`, (t) => {
    const { status, output } = culvert([program], env);
    t.is(status, 1, output);
    t.regex(output, fault);
    t.notRegex(output, /ERR_MODULE_NOT_FOUND|Cannot find/);
  });
}

/** Made at run time, or only of use in a checkout. */
const NOT_BUILT = /node_modules\/\.cache|examples\/bookinfo/;

test.serial('every file that a module names beside itself is in it', (t) => {
  const named: string[] = [];
  for (const module of globSync('{src,node_modules}/**/*.js', { cwd: dist })) {
    const text = readFileSync(join(dist, module), 'utf8');
    for (const [, path = ''] of text.matchAll(/(?:new URL|createRequire\(import\.meta\.url\))\('([^']+)'/g)) {
      if (path.startsWith('.') && !NOT_BUILT.test(path)) named.push(join(dirname(module), path));
    }
  }
  t.true(named.some((file) => file.endsWith('capture.o')));
  t.true(named.some((file) => file.endsWith('.node')));
  t.deepEqual(
    named.filter((file) => !existsSync(join(dist, file))),
    [],
  );
});

test.serial('control: without its own packages it does not start', (t) => {
  rmSync(join(dist, 'node_modules/culvert-netns'), { recursive: true });
  rmSync(join(folder, 'node_modules'));
  const { status, output } = culvert(['ztunnel'], { PROXY_MODE: 'none' });
  t.not(status, 0);
  t.regex(output, /Cannot find package/);
});

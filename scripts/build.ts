/**
 * Builds plain JavaScript for images and the published package: `dist/` then holds everything that the programs need
 * beside `npm ci --omit=dev`. The workspace packages lie in `dist/node_modules`, with their native parts. An argument
 * names another folder than `dist/`.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';

interface PackageJson {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly license: string;
  readonly engines?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
}

const root = join(import.meta.dirname, '..');
const dist = resolve(process.argv[2] ?? join(root, 'dist'));

function readPackage(folder: string): PackageJson {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as PackageJson;
}

function writePackage(folder: string, content: object): void {
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(content, null, 2)}\n`);
}

rmSync(dist, { recursive: true, force: true });
const compiled = spawnSync('tsc', ['-p', 'tsconfig.build.json', '--outDir', dist], { cwd: root, stdio: 'inherit' });
if (compiled.status !== 0) process.exit(1);

for (const file of readdirSync(join(root, 'src/gen'))) {
  if (file.endsWith('.js')) cpSync(join(root, 'src/gen', file), join(dist, 'src/gen', file));
}

for (const folder of ['ebpf-loader-ts', 'netns']) {
  const { name, version, description, license } = readPackage(join(root, 'native', folder));
  const target = join(dist, 'node_modules', name);
  mkdirSync(join(dist, 'node_modules'), { recursive: true });
  cpSync(join(dist, 'native', folder, 'src'), join(target, 'src'), { recursive: true });
  const built = join(root, 'native', folder, 'build');
  for (const file of existsSync(built) ? readdirSync(built) : []) {
    if (file.endsWith('.node')) cpSync(join(built, file), join(target, 'build', file));
  }
  writePackage(target, { name, version, description, license, type: 'module', exports: { '.': './src/index.js' } });
}
rmSync(join(dist, 'native'), { recursive: true });
for (const file of [
  'native/bpf/build/capture.o',
  'native/cni-plugin/build/istio-cni',
  'native/engine/build/engine.node',
]) {
  cpSync(join(root, file), join(dist, file));
}

const { name, version, description, license, engines, dependencies } = readPackage(root);
writePackage(dist, {
  name,
  version,
  description,
  license,
  type: 'module',
  engines,
  bin: { culvert: 'src/cli/main.js' },
  dependencies,
});
console.log(`built ${name} ${version} into ${relative(process.cwd(), dist)}/`);

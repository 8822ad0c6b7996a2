/**
 * `npm run e2e`: the suites that need a real Kubernetes cluster. Exits 2, and says what is needed, where something is
 * missing. Arguments choose suites by a part of their file's name: `npm run e2e -- policy dns`.
 *
 *   KUBECONFIG       the cluster; an account that may do everything in it
 *   E2E_LOAD_IMAGE   command that brings an image archive to the nodes, `{}` stands for its path:
 *                    `kind load image-archive {}`, or a script that pushes to a registry; `none` when they are there
 *   E2E_HUB, E2E_TAG where the mesh's images are, docker.io/culvert and the project's version by default
 *   E2E_APP_IMAGE    name of the suites' own image, docker.io/culvert/e2e-app:0.1.0 by default
 *   E2E_MESH         `install` (default): installs the mesh before and removes it after; `present`: it is there and stays
 *
 * Order: suites of the control plane without a mesh; the mesh is installed; its suites; it is removed under traffic.
 * Namespaces are named `culvert-e2e-*` and removed; definitions of Istio's kinds stay.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const REPOSITORY = join(import.meta.dirname, '../..');
const SUITES = join(REPOSITORY, 'test/e2e');
const ARCHIVES = ['pilot', 'ztunnel', 'install-cni', 'e2e-app'].map((name) =>
  join(REPOSITORY, 'dist-images', `${name}.tar`),
);
const { version } = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as { version: string };
const { KUBECONFIG, E2E_LOAD_IMAGE, E2E_HUB = 'docker.io/culvert', E2E_TAG = version, E2E_MESH } = process.env;
const chosen = process.argv.slice(2);

function explain(problem: string): never {
  console.error(problem);
  console.error('These suites need a Kubernetes cluster (1.31 or later) and an account that may do everything in it.');
  console.error('Any cluster without a mesh will do (kind, k3s, a cloud); two nodes show more than one. For example:');
  console.error("  KUBECONFIG=<file> E2E_LOAD_IMAGE='kind load image-archive {}' npm run e2e");
  process.exit(2);
}

function readable(file: string): boolean {
  try {
    accessSync(file);
    return true;
  } catch {
    return false;
  }
}

/** Ends the whole run where a step fails. */
function step(what: string, command: string, args: readonly string[]): void {
  console.log(`# ${what}`);
  const { status } = spawnSync(command, args, { cwd: REPOSITORY, stdio: 'inherit' });
  if (status === 0) return;
  console.error(`${what}: failed with ${status}`);
  process.exit(1);
}

function culvert(...args: readonly string[]): void {
  step(`culvert ${args[0]}`, process.execPath, [join(REPOSITORY, 'src/cli/main.ts'), ...args]);
}

/** Whether all suites of these files held. */
function run(files: readonly string[]): boolean {
  if (files.length === 0) return true;
  const args = ['scripts/test.ts', '--config', 'ava.e2e.config.js', ...files.map((file) => join('test/e2e', file))];
  return spawnSync(process.execPath, args, { cwd: REPOSITORY, stdio: 'inherit' }).status === 0;
}

function loadImages(command: string): void {
  if (command === 'none') return;
  if (!ARCHIVES.slice(0, 3).every(existsSync)) step('images', 'npm', ['run', 'images']);
  if (!existsSync(ARCHIVES[3] ?? '')) step('image of the suites', process.execPath, ['test/e2e/app-image.ts']);
  for (const archive of ARCHIVES) {
    step(`load ${archive}`, 'sh', ['-c', command.replaceAll('{}', `'${archive}'`)]);
  }
}

if (!KUBECONFIG) explain('KUBECONFIG is not set.');
if (!readable(KUBECONFIG)) explain(`KUBECONFIG: cannot read ${KUBECONFIG}.`);
const files = readdirSync(SUITES)
  .filter((file) => file.endsWith('.test.ts'))
  .filter((file) => chosen.length === 0 || chosen.some((part) => file.includes(part)));
const withMesh = files.filter((file) => file.startsWith('mesh-'));
const removal = files.filter((file) => file.startsWith('removal'));
const without = files.filter((file) => !withMesh.includes(file) && !removal.includes(file));
const needsMesh = withMesh.length + removal.length > 0;
const installs = needsMesh && E2E_MESH !== 'present';
if (installs && !E2E_LOAD_IMAGE) {
  explain('E2E_LOAD_IMAGE is not set: nobody knows how images reach the nodes of this cluster.');
}
// Two control planes in one cluster would write over each other.
let held = E2E_MESH === 'present' ? true : run(without);
if (installs) {
  loadImages(E2E_LOAD_IMAGE ?? 'none');
  culvert('install', '--hub', E2E_HUB, '--tag', E2E_TAG);
}
held = run(withMesh) && held;
if (installs) {
  held = run(removal) && held;
  culvert('uninstall');
}
process.exit(held ? 0 : 1);

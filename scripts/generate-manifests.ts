/**
 * Writes what is generated from src/install: definitions in deploy/crds, plain YAML in deploy/manifests and the Helm chart in deploy/helm/culvert.
 * With `--check` nothing is written; what is not current is named, and the exit status is 1.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { deploymentFiles } from '../src/install/index.ts';

const root = join(import.meta.dirname, '..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
const isCheck = process.argv.includes('--check');
const stale: string[] = [];

for (const [folder, files] of deploymentFiles(version)) {
  const present = new Set(listFiles(join(root, folder)));
  for (const [name, text] of files) {
    const path = join(root, folder, name);
    if (present.has(name) && readFileSync(path, 'utf8') === text) continue;
    stale.push(join(folder, name));
    if (isCheck) continue;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  for (const name of present) {
    if (files.has(name)) continue;
    stale.push(join(folder, name));
    if (!isCheck) rmSync(join(root, folder, name));
  }
}
if (isCheck && stale.length > 0) {
  console.error(`not current, run: npm run manifests\n${stale.join('\n')}`);
  process.exit(1);
}
console.log(isCheck ? 'deploy: current' : `deploy: ${stale.length} files written`);

function listFiles(folder: string): readonly string[] {
  try {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1));
  } catch {
    return [];
  }
}

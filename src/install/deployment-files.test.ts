import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { deploymentFiles } from './deployment-files.ts';

const ROOT = join(import.meta.dirname, '../..');
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };

test('what lies in deploy is made from these sources: npm run manifests', (t) => {
  for (const [folder, files] of deploymentFiles(version)) {
    const entries = readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true });
    const present = entries
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name).slice(join(ROOT, folder).length + 1));
    t.deepEqual(present.sort(), [...files.keys()].sort(), folder);
    for (const [name, text] of files)
      t.true(readFileSync(join(ROOT, folder, name), 'utf8') === text, `${folder}/${name}`);
  }
});

/** The checked-in code is what the messages in `proto/` generate. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('the generated code is up to date', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'culvert-generate-test-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const bin = join(root, 'node_modules/.bin');
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
  await promisify(execFile)(join(bin, 'buf'), ['generate', '--output', folder], { cwd: root, env });
  const names = (await readdir(join(folder, 'src/gen'))).sort();
  t.deepEqual((await readdir(join(root, 'src/gen'))).sort(), names);
  for (const name of names) {
    const fresh = await readFile(join(folder, 'src/gen', name), 'utf8');
    t.true(fresh === (await readFile(join(root, 'src/gen', name), 'utf8')), `${name}: run npm run generate`);
  }
});

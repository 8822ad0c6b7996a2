/** The demo as a person runs it: to its end, and stopped in the middle. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import test from 'ava';
import { DEFAULT_ROOT, planCluster, remainsOf } from '../../src/local/index.ts';
import { eventually } from './cluster-fixture.ts';

const DEMO = join(import.meta.dirname, '../../src/cli/demo.ts');
const ACTS = 6;

function startDemo(name: string): { child: ChildProcess; output: () => string } {
  const child = spawn(process.execPath, [DEMO, '--name', name], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return { child, output: () => text };
}

test.serial('all six acts are true, and nothing is left', async (t) => {
  t.timeout(180_000);
  const name = `d${process.pid}`;
  const { child, output } = startDemo(name);
  t.teardown(() => child.kill('SIGTERM'));
  const [code] = (await once(child, 'close')) as [number | null];
  t.is(code, 0, output());
  for (let act = 1; act <= ACTS; act++) t.regex(output(), new RegExp(`^${act}\\. `, 'm'));
  t.deepEqual(await remainsOf(planCluster(name, join(DEFAULT_ROOT, name), 2)), []);
});

test.serial('stopped by Ctrl-C it says so, fails and leaves nothing', async (t) => {
  t.timeout(120_000);
  const name = `i${process.pid}`;
  const { child, output } = startDemo(name);
  t.teardown(() => child.kill('SIGKILL'));
  const plan = planCluster(name, join(DEFAULT_ROOT, name), 2);
  await eventually('the cluster is there', async () => ((await remainsOf(plan)).length > 5 ? true : undefined), 60_000);
  child.kill('SIGINT');
  const [code] = (await once(child, 'close')) as [number | null];
  t.is(code, 130, output());
  t.deepEqual(await remainsOf(plan), []);
});

/**
 * Runs every suite with ava and prints what really ran. The last line is `N passed, N failed`: ava's own counts, with
 * every test that was skipped, or never came to its end, counted as failed. Arguments are passed to ava; without them
 * the suite of the tunnel runs a second time, with the engine that is not the default.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

interface Counts {
  readonly passed: number;
  readonly failed: number;
}

async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Counts> {
  const child = spawn('ava', ['--tap', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
  let passed = 0;
  let failed = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    if (/^ok /.test(line)) {
      if (/# (SKIP|TODO)/i.test(line)) failed += 1;
      else passed += 1;
    } else if (/^not ok /.test(line)) failed += 1;
    else failed += Number(/^# (\d+) tests? remaining in /.exec(line)?.[1] ?? 0);
    if (!/^# (tests|pass|skip|fail|todo)\b|^1\.\.|^TAP version/.test(line)) console.log(line);
  }
  const code = await new Promise<number>((resolve) => {
    if (child.exitCode !== null) resolve(child.exitCode);
    else child.once('close', (status) => resolve(status ?? 1));
  });
  if (code !== 0 && failed === 0) failed += 1;
  if (passed === 0) failed += 1;
  return { passed, failed };
}

const args = process.argv.slice(2);
const runs = [await run(args)];
if (args.length === 0) {
  console.log('# the same tunnel suite with the TypeScript engine');
  runs.push(await run(['test/mesh/*.test.ts'], { CULVERT_ENGINE: 'typescript' }));
}
const passed = runs.reduce((sum, counts) => sum + counts.passed, 0);
const failed = runs.reduce((sum, counts) => sum + counts.failed, 0);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);

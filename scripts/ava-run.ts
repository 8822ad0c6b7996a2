/** One run of ava: what it prints goes on, what really ran is counted. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

export interface RunOptions {
  /** Command that runs ava; the words of ava's own command follow. */
  readonly prefix?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Every test that was skipped, or never came to its end, is counted as failed; so is a run in which nothing passed. */
export async function runAva(args: readonly string[], { prefix = [], env = {} }: RunOptions = {}): Promise<Counts> {
  const [command = 'ava', ...rest] = [...prefix, 'ava', '--tap', ...args];
  const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...env } });
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

/** Prints the sum as the last line and ends the process with it. */
export function finish(runs: readonly Counts[]): never {
  const passed = runs.reduce((sum, counts) => sum + counts.passed, 0);
  const failed = runs.reduce((sum, counts) => sum + counts.failed, 0);
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed > 0 ? 1 : 0);
}

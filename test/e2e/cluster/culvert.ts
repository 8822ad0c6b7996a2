/** The program as an operator runs it. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const MAIN = join(import.meta.dirname, '../../../src/cli/main.ts');

/** Resolves with what it printed. Rejects with that when it fails. */
export async function culvert(...args: readonly string[]): Promise<string> {
  const options = { env: { ...process.env, NODE_NO_WARNINGS: '1' }, maxBuffer: 16 * 1024 * 1024 };
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [MAIN, ...args], options);
  return stdout + stderr;
}

/**
 * Builds of the native engine with sanitizers, and its conformance suite against them. The sanitized add-on is mounted
 * over the usual one, in a mount namespace of the run; what a sanitizer finds ends the process, and the suite fails.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Counts, runAva } from './ava-run.ts';

export type Sanitizer = 'address' | 'thread';

const ENGINE = new URL('../native/engine/', import.meta.url).pathname;
const SUITE = 'test/engine/native-engine.test.ts';
/** A sanitized process is some times slower. */
const TIMEOUT = '180s';

/** With undefined behaviour where both work together. */
export const FLAGS: Readonly<Record<Sanitizer, string>> = { address: 'address,undefined', thread: 'thread' };

/** Runs the suite of the native engine; `args` are further ones of ava. Findings are printed and counted as failed. */
export async function runSanitized(sanitizer: Sanitizer, args: readonly string[] = []): Promise<Counts> {
  console.log(`# the native engine with -fsanitize=${FLAGS[sanitizer]}`);
  buildSanitized(sanitizer);
  const folder = mkdtempSync(join(tmpdir(), 'culvert-sanitize-'));
  try {
    const env = sanitizedEnv(sanitizer, join(folder, 'finding'));
    const preload = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const mount = `mount --bind ${ENGINE}build/${sanitizer}/engine.node ${ENGINE}build/engine.node && exec "$@"`;
    const prefix = ['unshare', '--mount', 'sh', '-c', mount, 'sh', 'setarch', '-R', 'env', ...preload];
    const counts = await runAva([`--timeout=${TIMEOUT}`, SUITE, ...args], { prefix });
    const findings = readdirSync(folder);
    for (const finding of findings) console.log(readFileSync(join(folder, finding), 'utf8'));
    return { passed: counts.passed, failed: counts.failed + findings.length };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Incremental. Throws when it cannot be built. */
export function buildSanitized(sanitizer: Sanitizer): void {
  const jobs = `-j${execFileSync('nproc', { encoding: 'utf8' }).trim()}`;
  const made = spawnSync('make', ['-s', jobs, '-C', ENGINE, `SANITIZE=${FLAGS[sanitizer]}`], { stdio: 'inherit' });
  if (made.status !== 0) throw new Error(`the build with -fsanitize=${FLAGS[sanitizer]} failed`);
}

/** What a process needs that loads such a build. Node itself is not instrumented: its runtime is loaded before all else. */
export function sanitizedEnv(sanitizer: Sanitizer, findings: string): Readonly<Record<string, string>> {
  const library = sanitizer === 'address' ? 'libasan.so' : 'libtsan.so';
  return {
    LD_PRELOAD: execFileSync('gcc', [`-print-file-name=${library}`], { encoding: 'utf8' }).trim(),
    // what Node holds at its end is no leak
    ASAN_OPTIONS: `detect_leaks=0:log_path=${findings}`,
    UBSAN_OPTIONS: `halt_on_error=1:print_stacktrace=1:log_path=${findings}`,
    TSAN_OPTIONS: `ignore_noninstrumented_modules=1:log_path=${findings}`,
  };
}

/** Runs short-lived programs to their end. No shell is involved; output is bounded and every run has a deadline. */
import { spawn } from 'node:child_process';
import { MeshError } from '../core/errors.ts';

export interface RunOptions {
  readonly input?: string;
  /** Replaces the environment. Without it a program gets `SYSTEM_PATH` and nothing else. */
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

export interface RunResult {
  /** Exit code; 128 when a signal ended the program. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The system's own tools: npm puts its folder first in PATH, and there is an `nft` in it that is none. */
export const SYSTEM_PATH = '/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin';
const OUTPUT_BYTES_MAX = 4 * 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 30_000;

/** Runs a program and returns whatever exit code it had. Rejects with ERR_SYSTEM when it cannot start or overruns. */
export async function runAny(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { input, env = { PATH: SYSTEM_PATH }, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  return await new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new MeshError('ERR_SYSTEM', `${command} did not end within ${timeoutMs} ms`));
    }, timeoutMs);
    const output = [collect(child.stdout), collect(child.stderr)] as const;
    child.stdin.on('error', () => {}); // the program may end without reading its input
    child.stdin.end(input ?? '');
    child.once('error', (cause) => {
      clearTimeout(timer);
      reject(new MeshError('ERR_SYSTEM', `cannot run ${command}; is it installed?`, { cause }));
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? 128, stdout: output[0](), stderr: output[1]() });
    });
  });
}

/** Runs a program and returns its stdout. Rejects with ERR_SYSTEM and the program's words when it exits with non-zero. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await runAny(command, args, options);
  if (code === 0) return stdout;
  throw new MeshError(
    'ERR_SYSTEM',
    `${command} ${args.join(' ')} failed with ${code}: ${stderr.trim() || stdout.trim()}`,
  );
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= OUTPUT_BYTES_MAX) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString('utf8');
}

/**
 * Runs a system program inside a pod's network namespace. The namespace is handed over as a descriptor, so that no path
 * can be swapped under it, and the program is named by its absolute path.
 */
import { spawn } from 'node:child_process';
import type { Netns } from 'culvert-netns';
import { MeshError } from '../../core/errors.ts';

/** A program that takes longer is killed: the queue must not stop for one pod. */
const COMMAND_TIMEOUT_MS = 10_000;
/** More than any dump of rules or sockets that is looked at; the rest is dropped. */
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;
const NSENTER = '/usr/bin/nsenter';
/** Where system programs are; the caller's PATH is not trusted. */
const COMMAND_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program in `netns`, or in the namespace of this process when it is undefined. Seam for tests. */
export type RunCommand = (
  netns: Netns | undefined,
  command: readonly string[],
  options?: CommandOptions,
) => Promise<CommandResult>;

/** Resolves with any exit status; rejects with ERR_UNSUPPORTED when the program is not there, ERR_TIMEOUT after 10 s. */
export const runCommand: RunCommand = async (netns, command, { input = '', env = {} } = {}) => {
  const inside = netns === undefined ? command : [NSENTER, '--net=/proc/self/fd/3', '--', ...command];
  const [file = '', ...args] = inside;
  const child = spawn(file, args, {
    stdio: ['pipe', 'pipe', 'pipe', netns === undefined ? 'ignore' : netns.fd],
    env: { PATH: COMMAND_PATH, LC_ALL: 'C', ...env },
    cwd: '/',
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), COMMAND_TIMEOUT_MS);
  try {
    const stdout = collect(child.stdout);
    const stderr = collect(child.stderr);
    child.stdin?.on('error', () => {}); // a program that does not read its input says why by its exit status
    child.stdin?.end(input);
    const status = await new Promise<number | undefined>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve(code ?? undefined));
    });
    if (status !== undefined) return { status, stdout: stdout(), stderr: stderr() };
  } catch (cause) {
    throw new MeshError('ERR_UNSUPPORTED', `cannot run ${command[0]}; is its package installed?`, { cause });
  } finally {
    clearTimeout(timer);
  }
  throw new MeshError('ERR_TIMEOUT', `${command[0]} was killed, it may take ${COMMAND_TIMEOUT_MS} ms`);
};

/** The standard output of a program; a status other than 0 rejects with ERR_REDIRECT and what the program said. */
export async function mustRun(
  run: RunCommand,
  netns: Netns | undefined,
  command: readonly string[],
  options?: CommandOptions,
): Promise<string> {
  const { status, stdout, stderr } = await run(netns, command, options);
  if (status === 0) return stdout;
  throw new MeshError('ERR_REDIRECT', `${command[0]} ended with ${status}: ${stderr.trim().slice(0, 500)}`);
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream?.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= OUTPUT_BYTES_MAX) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString('utf8');
}

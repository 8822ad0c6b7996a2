/** Compiles a C source for tests: an eBPF object in memory, or a native program that is run. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const NATIVE_BPF = fileURLToPath(new URL('../../native/bpf', import.meta.url));

/** The object file of `programs/<name>.bpf.c`. */
export function compileProgram(name: string): Buffer {
  const source = fileURLToPath(new URL(`programs/${name}.bpf.c`, import.meta.url));
  const multiarch = execFileSync('gcc', ['-print-multiarch'], { encoding: 'utf8' }).trim();
  return inFolder((dir) => {
    const out = join(dir, 'out.o');
    const flags = ['-O2', '-g', '-target', 'bpf', '-idirafter', `/usr/include/${multiarch}`];
    execFileSync('clang', [...flags, '-c', source, '-o', out]);
    return readFileSync(out);
  });
}

/** What a C program prints. */
export function runC(source: string): string {
  return inFolder((dir) => {
    const out = join(dir, 'out');
    execFileSync('gcc', ['-x', 'c', '-I', NATIVE_BPF, '-o', out, '-'], { input: source });
    return execFileSync(out, { encoding: 'utf8' });
  });
}

function inFolder<T>(use: (dir: string) => T): T {
  const dir = mkdtempSync(join(tmpdir(), 'cvt-bpf-'));
  try {
    return use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

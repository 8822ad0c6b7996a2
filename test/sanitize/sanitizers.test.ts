/** That the sanitized runs of the native engine see what they are made to see. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { FLAGS, type Sanitizer, sanitizedEnv } from '../../scripts/sanitizers.ts';

const SOUND = 'int main() { return 0; }';
const FAULTS: readonly (readonly [string, Sanitizer, string])[] = [
  ['a read beyond a buffer', 'address', 'int main(int n, char**) { char* p = new char[4]; return p[n + 4]; }'],
  ['a buffer used after it was freed', 'address', 'int main() { int* p = new int(1); delete p; return *p; }'],
  ['an overflow', 'address', 'int main(int n, char**) { return 0x7fffffff + n; }'],
  [
    'two threads that write one number',
    'thread',
    '#include <thread>\nint n; int main() { std::thread t([] { n++; }); n++; t.join(); return 0; }',
  ],
];

/** Whether a program that is built and run as the engine is makes the sanitizer speak. */
function isFaulty(sanitizer: Sanitizer, source: string): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-fault-'));
  try {
    writeFileSync(join(folder, 'fault.cpp'), source);
    const flags = ['-O0', '-g', '-pthread', `-fsanitize=${FLAGS[sanitizer]}`, '-o', 'fault', 'fault.cpp'];
    const made = spawnSync('g++', flags, { cwd: folder, encoding: 'utf8' });
    if (made.status !== 0) throw new Error(made.stderr);
    const { LD_PRELOAD: _, ...env } = sanitizedEnv(sanitizer, join(folder, 'finding'));
    const run = spawnSync('setarch', ['-R', './fault'], {
      cwd: folder,
      env: { PATH: process.env.PATH, ...env },
      encoding: 'utf8',
    });
    return readdirSync(folder).some((name) => name.startsWith('finding')) || run.stderr.includes('runtime error');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

for (const [what, sanitizer, source] of FAULTS) {
  test(`control: ${what} is found`, (t) => {
    t.true(isFaulty(sanitizer, source));
  });
}

test('a sound program leaves no finding', (t) => {
  for (const sanitizer of ['address', 'thread'] as const) t.false(isFaulty(sanitizer, SOUND));
});

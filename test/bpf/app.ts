/** Runs `programs/app.c` in a pod's namespace, as a process of this test's cgroup. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SOURCE = fileURLToPath(new URL('programs/app.c', import.meta.url));

/** What the application printed, taken apart. */
export interface AppReport {
  readonly error?: string;
  readonly line?: string;
  readonly peer?: string;
  readonly self?: string;
  readonly answer?: string;
  readonly from?: string;
  readonly text: string;
}

export class TestApp implements Disposable {
  readonly #dir = mkdtempSync(join(tmpdir(), 'cvt-bpf-'));
  readonly #path = join(this.#dir, 'app');

  constructor() {
    execFileSync('gcc', ['-O1', '-o', this.#path, SOURCE]);
  }

  async run(
    netnsPath: string,
    args: readonly (string | number)[],
    env: Record<string, string> = {},
  ): Promise<AppReport> {
    const argv = [`--net=${netnsPath}`, this.#path, ...args.map(String)];
    const { stdout } = await promisify(execFile)('nsenter', argv, { env: { ...env, PATH: '/usr/bin:/bin' } });
    const text = stdout.trim();
    const fields = [...text.matchAll(/(error|line|peer|self|answer|from)=(.*?)(?= (?:peer|self|from)=|$)/g)];
    return { ...Object.fromEntries(fields.map(([, name, value]) => [name, value])), text };
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** The outside of `policy-probe.ts`: starts it in the client's pod and waits for what it sees. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { BenchCluster } from './cluster.ts';

const NODE = join(import.meta.dirname, '..', 'node_modules', '.bin', 'node');
const PROBE = join(import.meta.dirname, 'policy-probe.ts');

export class PolicyWatcher implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>) {
    this.#child = child;
    this.#lines = lines;
  }

  static async start(cluster: BenchCluster, httpIp: string): Promise<PolicyWatcher> {
    const child = cluster.start('client', [NODE, PROBE, httpIp, '8080']);
    return new PolicyWatcher(child, createInterface({ input: child.stdout })[Symbol.asyncIterator]());
  }

  /** Resolves with when calls became `wanted` (Unix time in ms). Rejects when the probe has ended. */
  async next(wanted: 'allowed' | 'denied'): Promise<number> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error('the probe ended');
      const [state, atMs] = String(value).split(' ');
      if (state === wanted) return Number(atMs);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end();
    if (this.#child.exitCode === null) await once(this.#child, 'close');
  }
}

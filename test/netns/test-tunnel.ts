/** Handle on `tunnel-process.ts`: start it, let it connect, kill it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ConnectTcpOptions } from 'culvert-netns';

const PROGRAM = fileURLToPath(new URL('./tunnel-process.ts', import.meta.url));

export interface TunnelAnswer {
  readonly reply?: string;
  readonly error?: string;
}

export class TestTunnel implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number | 'ready' | 'started', (message: TunnelAnswer) => void>();
  #ids = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const message = JSON.parse(line) as TunnelAnswer & { id?: number; ready?: boolean }; // our own program's
      const key = message.id ?? (message.ready ? 'ready' : 'started');
      this.#waiting.get(key)?.(message);
    });
  }

  /** `cgroup`: a cgroup2 folder that the process is put into before it makes a socket. */
  static async start(netnsPath: string, cgroup?: string): Promise<TestTunnel> {
    const child = spawn(process.execPath, [PROGRAM, netnsPath], { stdio: ['pipe', 'pipe', 'inherit'] });
    const tunnel = new TestTunnel(child);
    await tunnel.#next('ready');
    if (cgroup !== undefined) writeFileSync(`${cgroup}/cgroup.procs`, String(child.pid));
    const started = tunnel.#next('started');
    child.stdin?.write('{"start":true}\n');
    await started;
    return tunnel;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Connects as the tunnel, says hello and returns what came first, or the error's name. */
  async connect(options: ConnectTcpOptions): Promise<TunnelAnswer> {
    const id = ++this.#ids;
    const answer = this.#next(id);
    this.#child.stdin?.write(`${JSON.stringify({ id, connect: options })}\n`);
    return answer;
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #next(key: number | 'ready' | 'started'): Promise<TunnelAnswer> {
    return new Promise((resolve, reject) => {
      this.#child.once('exit', () => reject(new Error('the test tunnel has ended')));
      this.#waiting.set(key, (message) => {
        this.#waiting.delete(key);
        resolve(message);
      });
    });
  }
}

/**
 * A program of the mesh kept running on a node, as a kubelet keeps a DaemonSet's container: started again whenever it
 * ends, quickly at first, until it is stopped.
 */
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Clock } from '../core/clock.ts';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { removeCgroup } from './cgroup.ts';
import { ContainerProcess, type ProcessSpec } from './container-process.ts';
import { RestartDelay } from './restart-delay.ts';

export interface ComponentSpec extends ProcessSpec {
  readonly name: string;
  /** While this file exists the component is not started (again). */
  readonly holdFile: string;
}

const HOLD_POLL_MS = 50;
const LAST_WORDS_MAX = 500;

export interface ComponentState {
  readonly name: string;
  readonly pid: number | undefined;
  readonly restarts: number;
}

export class Component {
  readonly #spec: ComponentSpec;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onChange: () => void;
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;
  #process: ContainerProcess | undefined;
  #restarts = 0;

  constructor(spec: ComponentSpec, { clock, log, onChange }: { clock: Clock; log: Logger; onChange: () => void }) {
    this.#spec = spec;
    this.#clock = clock;
    this.#log = log.child('component', { component: spec.name });
    this.#onChange = onChange;
    this.#done = this.#run();
  }

  get state(): ComponentState {
    return { name: this.#spec.name, pid: this.#process?.pid, restarts: this.#restarts };
  }

  /** SIGTERM, after `graceMs` SIGKILL. Resolves when it is gone and will not come back. */
  async stop(graceMs: number): Promise<void> {
    this.#abort.abort();
    await this.#process?.stop(graceMs);
    await this.#done;
  }

  async #run(): Promise<void> {
    const delay = new RestartDelay();
    const { signal } = this.#abort;
    while (!signal.aborted) {
      await this.#whileHeld(signal);
      if (signal.aborted) return;
      const startedMs = this.#clock.monotonicMs();
      try {
        this.#process = await ContainerProcess.start(this.#spec);
        this.#onChange();
        const exitCode = await this.#process.exited;
        if (signal.aborted) return;
        this.#log.warn('component ended, starting it again', {
          exitCode,
          lastWords: await lastLine(this.#spec.logFile),
        });
        await removeCgroup(this.#spec.cgroup);
      } catch (error) {
        this.#log.error('component did not start', { error: errorMessage(error) });
      }
      this.#process = undefined;
      this.#restarts += 1;
      this.#onChange();
      await this.#clock.sleep(delay.afterRun(this.#clock.monotonicMs() - startedMs), signal).catch(() => {});
    }
  }

  async #whileHeld(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && existsSync(this.#spec.holdFile)) {
      await this.#clock.sleep(HOLD_POLL_MS, signal).catch(() => {});
    }
  }
}

/** The last line of a log, which mostly says why its writer ended. Empty when there is none. */
async function lastLine(path: string): Promise<string> {
  try {
    await using file = await open(path);
    const { size } = await file.stat();
    const start = Math.max(0, size - LAST_WORDS_MAX);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(LAST_WORDS_MAX), 0, LAST_WORDS_MAX, start);
    return buffer.toString('utf8', 0, bytesRead).trimEnd().split('\n').at(-1) ?? '';
  } catch {
    return '';
  }
}

/**
 * Counts the calls that the CNI plugin refused, from the log it keeps in the run directory. Calls that it refuses by
 * itself (a missing field, no agent) reach nobody else; the log outlives both programs, so a restart loses no count.
 *
 * Invariants
 *  - Every whole line is counted once, also when the log was rotated meanwhile.
 *  - What is read at once is bounded by the plugin's own limit of its log.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';

/** The plugin rotates at 1 MiB; more than that is none of its logs. */
const READ_BYTES_MAX = 4 * 1024 * 1024;

export class PluginLog {
  readonly #path: string;
  readonly #counts = new Map<string, number>();
  #inode = 0;
  #offset = 0;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(runDir: string) {
    this.#path = join(runDir, 'istio-cni.log');
  }

  /** Refused calls by CNI error code, as far back as the log goes. Total: what cannot be read adds nothing. */
  failures(): Promise<ReadonlyMap<string, number>> {
    const read = this.#reading.then(() => this.#follow()).catch(() => undefined);
    this.#reading = read;
    return read.then(() => this.#counts);
  }

  async #follow(): Promise<void> {
    await using log = await openLog(this.#path);
    if (log?.inode !== this.#inode) {
      await using rotated = await openLog(`${this.#path}.1`);
      // At first all of it, later what was not read before it was rotated; any other one has nothing to do with us.
      if (rotated && (this.#inode === 0 || rotated.inode === this.#inode)) await this.#count(rotated.file);
      this.#inode = log?.inode ?? 0;
      this.#offset = 0;
    }
    if (log) await this.#count(log.file);
  }

  async #count(file: FileHandle): Promise<void> {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(READ_BYTES_MAX), 0, READ_BYTES_MAX, this.#offset);
    const end = buffer.subarray(0, bytesRead).lastIndexOf('\n') + 1;
    this.#offset += end;
    for (const line of buffer.toString('utf8', 0, end).split('\n')) {
      const code = /"code":\s*(\d{1,3})\b/.exec(line)?.[1];
      if (code !== undefined) this.#counts.set(code, (this.#counts.get(code) ?? 0) + 1);
    }
  }
}

async function openLog(path: string) {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(path, flags).catch(() => undefined);
  if (!file) return undefined;
  const status = await file.stat();
  if (!status.isFile()) return void (await file.close());
  return { file, inode: status.ino, [Symbol.asyncDispose]: () => file.close() };
}

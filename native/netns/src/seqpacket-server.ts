/**
 * A listening unix SOCK_SEQPACKET socket. A stale socket file in its place is removed first, nothing else is; on dispose
 * the file is removed only while it is still this server's own, so that a successor's stays.
 */
import { lstatSync, unlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { canceled, checked, errnoOf, NetnsError, toNetnsError } from './errors.ts';
import { native } from './native.ts';
import { Readiness } from './readiness.ts';
import { SeqpacketSocket } from './seqpacket.ts';

const BACKLOG = 16;
/** Out of descriptors: a pause lets others free some; the connection stays in the queue. */
const PAUSE_MS = 50;

export class SeqpacketServer implements AsyncDisposable {
  readonly path: string;
  readonly #fd: number;
  readonly #file: string;
  readonly #readiness: Readiness;
  #closed = false;

  private constructor(path: string, fd: number) {
    this.path = path;
    this.#fd = fd;
    this.#file = fileId(path) ?? '';
    this.#readiness = new Readiness(fd);
  }

  /** `mode` is the permission of the socket file, such as 0o600; it never has more. EEXIST when a file is in the way. */
  static async listen(path: string, mode: number): Promise<SeqpacketServer> {
    removeStaleSocket(path);
    const fd = checked(native.seqpacketListen(path, mode, BACKLOG), `listen on ${path}`);
    try {
      return new SeqpacketServer(path, fd);
    } catch (error) {
      native.closeFd(fd);
      throw error;
    }
  }

  /** The next connection; undefined once the server is closed. One accept at a time. Rejects with ECANCELED on abort. */
  async accept(signal?: AbortSignal): Promise<SeqpacketSocket | undefined> {
    while (!this.#closed) {
      if (signal?.aborted) throw canceled('accept a connection', signal);
      const fd = native.seqpacketAccept(this.#fd);
      if (fd >= 0) return new SeqpacketSocket(fd);
      const errno = errnoOf(fd);
      if (errno === 'EMFILE' || errno === 'ENFILE' || errno === 'ENOBUFS' || errno === 'ENOMEM') {
        await delay(PAUSE_MS);
      } else if (errno === 'EAGAIN') {
        await this.#waitForConnection(signal);
      } else if (errno !== 'ECONNABORTED' && errno !== 'EINTR') {
        throw toNetnsError(fd, `accept on ${this.path}`);
      }
    }
    return undefined;
  }

  /** Idempotent; a waiting accept resolves with undefined. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (fileId(this.path) === this.#file) unlinkSync(this.path);
    this.#readiness[Symbol.dispose]();
    native.closeFd(this.#fd);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  async #waitForConnection(signal?: AbortSignal): Promise<void> {
    try {
      await this.#readiness.readable(signal);
    } catch (error) {
      if (!this.#closed) throw error;
    }
  }
}

function fileId(path: string): string | undefined {
  const status = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return status && `${status.dev}:${status.ino}`;
}

function removeStaleSocket(path: string): void {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status === undefined) return;
  if (!status.isSocket()) throw new NetnsError('EEXIST', `${path} is there and is not a socket`);
  unlinkSync(path);
}

/**
 * A folder of pinned links, one file each. A pin keeps its program attached while no process holds the link; a link
 * whose target is gone is dead and only its file remains.
 */
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { BpfLink, type BpfProgram, unpin } from 'ebpf-loader-ts';
import { errnoName } from '../core/errors.ts';

/** Where a program is attached: an open descriptor with the number that the link reports for it. */
export interface LinkTarget {
  readonly fd: number;
  /** Cgroup id, or inode of the namespace. */
  readonly id: bigint;
  readonly what: string;
}

export class PinnedLinks {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  names(): readonly string[] {
    return existsSync(this.#dir) ? readdirSync(this.#dir) : [];
  }

  /** Attaches, or puts the program in place of the one attached there; a pin of another or lost target is replaced. */
  attach(name: string, program: BpfProgram, target: LinkTarget): void {
    mkdirSync(this.#dir, { recursive: true });
    if (this.#update(name, program, target.id)) return;
    this.remove(name);
    using link = program.attachTo(target.fd, target.what);
    link.pin(this.#path(name));
  }

  /** Puts the program in place of the attached one; false when the link is dead or absent. */
  refresh(name: string, program: BpfProgram): boolean {
    return this.#update(name, program, undefined);
  }

  /** Whether the link exists and its target is alive. */
  isAlive(name: string): boolean {
    using link = BpfLink.openPinned(this.#path(name));
    return link !== undefined && link.info().target !== 0n;
  }

  /** Detaches and removes the pin; no error when there is none. */
  remove(name: string): void {
    using link = BpfLink.openPinned(this.#path(name));
    link?.detach();
    unpin(this.#path(name));
  }

  /** Removes every link and the folder. */
  removeAll(): void {
    for (const name of this.names()) this.remove(name);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #update(name: string, program: BpfProgram, targetId: bigint | undefined): boolean {
    using link = BpfLink.openPinned(this.#path(name));
    if (link === undefined) return false;
    const { target } = link.info();
    if (target === 0n || (targetId !== undefined && target !== targetId)) return false;
    try {
      link.update(program);
      return true;
    } catch (error) {
      if (errnoName(error) === 'ENOLINK') return false;
      throw error;
    }
  }

  #path(name: string): string {
    return join(this.#dir, name);
  }
}

/** Opens a folder or namespace file for the duration of `use`. */
export function withFd<T>(path: string, use: (fd: number) => T): T {
  const fd = openSync(path, 'r');
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

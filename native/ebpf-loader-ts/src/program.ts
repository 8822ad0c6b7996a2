/** Loaded programs: attach, pin, test-run. */
import { closeSync, openSync } from 'node:fs';
import { checked, checkedValue } from './errors.ts';
import { ATTACH_TYPES, type AttachType } from './kernel-names.ts';
import { BpfLink } from './link.ts';
import { type FdHandle, native } from './native.ts';

export interface TestRunInput {
  /** Packet, for programs that see one. */
  readonly data?: Uint8Array;
  /** The program's context struct, for programs that take one. */
  readonly context?: Uint8Array;
  /** 1 unless told. */
  readonly repeat?: number;
}

export interface TestRun {
  /** What the program returned. */
  readonly returned: number;
  /** Mean of the runs. */
  readonly durationNs: number;
  readonly data: Buffer;
  readonly context: Buffer;
}

/** Room for what a test run gives back beyond what went in. */
const EXTRA_BYTES = 256;

/** Owns one descriptor of a loaded program. */
export class BpfProgram implements Disposable {
  readonly name: string;
  /** BPF_PROG_TYPE_*. */
  readonly type: number;
  /** Kernel-wide number of the program. */
  readonly id: number;
  readonly #handle: FdHandle;
  readonly #attachType: number | undefined;

  private constructor(handle: FdHandle, attachType: number | undefined) {
    const info = checkedValue(native.programInfo(handle), 'inspect a program');
    this.#handle = handle;
    this.#attachType = attachType;
    this.name = info.name;
    this.type = info.type;
    this.id = info.id;
  }

  /** Takes the handle over. */
  static fromHandle(handle: FdHandle, attachType: number): BpfProgram {
    return new BpfProgram(handle, attachType);
  }

  /** Opens a pinned program; the kernel does not tell its attach type, so name it to attach again. */
  static openPinned(path: string, attachType?: AttachType): BpfProgram {
    const handle = checkedValue(native.openPinned(path), `open the pinned program ${path}`);
    return new BpfProgram(handle, attachType === undefined ? undefined : ATTACH_TYPES[attachType]);
  }

  get handle(): FdHandle {
    return this.#handle;
  }

  /** Attaches to a cgroup2 folder, for every process in it and below. Other programs there go on running. */
  attachCgroup(path: string): BpfLink {
    const fd = openSync(path, 'r');
    try {
      return this.attachTo(fd, `cgroup ${path}`);
    } finally {
      closeSync(fd);
    }
  }

  /** Attaches to a network namespace (sk_lookup, flow dissector). The descriptor stays the caller's. */
  attachNetns(netnsFd: number): BpfLink {
    return this.attachTo(netnsFd, 'a network namespace');
  }

  /** Attaches to whatever `targetFd` is, with the attach type of the program's section. */
  attachTo(targetFd: number, what: string): BpfLink {
    const type = this.#attachType;
    if (type === undefined) throw new TypeError(`program ${this.name} was opened without an attach type`);
    return BpfLink.fromHandle(
      checkedValue(native.linkCreate(this.#handle, targetFd, type), `attach ${this.name} to ${what}`),
    );
  }

  /** Pins the program in bpffs; throws EEXIST when the path is taken. */
  pin(path: string): void {
    checked(native.pinHandle(this.#handle, path), `pin program ${this.name} at ${path}`);
  }

  /** Runs the program on made-up input (BPF_PROG_TEST_RUN). Throws EOPNOTSUPP (524) for types that cannot. */
  testRun(input: TestRunInput): TestRun {
    const data = Buffer.alloc(input.data ? input.data.length + EXTRA_BYTES : 0);
    const context = Buffer.alloc(input.context?.length ?? 0);
    const result = native.testRun(
      this.#handle,
      input.data ?? null,
      input.data ? data : null,
      input.context ?? null,
      input.context ? context : null,
      input.repeat ?? 1,
    );
    const run = checkedValue(result, `test-run ${this.name}`);
    return {
      returned: run.returned,
      durationNs: run.durationNs,
      data: data.subarray(0, run.dataBytes),
      context: context.subarray(0, run.contextBytes),
    };
  }

  [Symbol.dispose](): void {
    native.close(this.#handle);
  }
}

/** Numbers of the programs attached to a cgroup2 folder, network namespace, ... by anyone. */
export function attachedPrograms(targetFd: number, attachType: AttachType): readonly number[] {
  return checkedValue(native.attachedPrograms(targetFd, ATTACH_TYPES[attachType]), `query ${attachType}`);
}

/**
 * The add-on's functions as TypeScript sees them. A number result that is negative is -errno. Only this file loads the
 * binary; arguments are checked by the callers, not here.
 */
import { createRequire } from 'node:module';
import { BpfError } from './errors.ts';

/** Opaque: external objects that only the add-on can read. */
export interface ObjectHandle {
  readonly objectHandle: unique symbol;
}
/** A descriptor of a map, program or link. */
export interface FdHandle {
  readonly fdHandle: unique symbol;
}
export interface RingHandle {
  readonly ringHandle: unique symbol;
}

export interface MapDescription {
  readonly name: string;
  /** BPF_MAP_TYPE_*. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

export interface ProgramDescription {
  readonly name: string;
  readonly section: string;
  /** BPF_PROG_TYPE_*. */
  readonly type: number;
  /** The attach type that the section names, BPF_CGROUP_* and so on. */
  readonly attachType: number;
}

export interface VariableDescription {
  readonly name: string;
  readonly section: string;
  readonly offset: number;
  readonly size: number;
}

export interface LinkDescription {
  readonly id: number;
  readonly type: number;
  readonly programId: number;
  readonly attachType: number;
  readonly target: bigint;
}

export interface TestRunResult {
  readonly returned: number;
  readonly durationNs: number;
  readonly dataBytes: number;
  readonly contextBytes: number;
}

type Bytes = Uint8Array | null;

export interface Native {
  close(handle: ObjectHandle | FdHandle): void;
  fdOf(handle: FdHandle): number;
  takeLog(): string;
  openObject(bytes: Uint8Array, name: string): ObjectHandle | number;
  objectMaps(object: ObjectHandle): readonly (MapDescription & { readonly internal: number })[];
  objectPrograms(object: ObjectHandle): readonly ProgramDescription[];
  objectVariables(object: ObjectHandle): readonly VariableDescription[];
  initialValue(object: ObjectHandle, map: string): Buffer | number;
  setInitialValue(object: ObjectHandle, map: string, bytes: Uint8Array): number;
  setMaxEntries(object: ObjectHandle, map: string, count: number): number;
  setAutoload(object: ObjectHandle, program: string, wanted: boolean): number;
  reuseMap(object: ObjectHandle, name: string, map: FdHandle): number;
  loadObject(object: ObjectHandle): number;
  mapOf(object: ObjectHandle, name: string): FdHandle | number;
  programOf(object: ObjectHandle, name: string): FdHandle | number;
  pinHandle(handle: FdHandle, path: string): number;
  openPinned(path: string): FdHandle | number;
  mapInfo(map: FdHandle): (MapDescription & { readonly id: number }) | number;
  mapLookup(map: FdHandle, key: Bytes, into: Uint8Array): number;
  mapUpdate(map: FdHandle, key: Bytes, value: Uint8Array, flags: number): number;
  mapDelete(map: FdHandle, key: Uint8Array): number;
  mapNextKey(map: FdHandle, key: Bytes, into: Uint8Array): number;
  possibleCpus(): number;
  programInfo(program: FdHandle): { readonly name: string; readonly type: number; readonly id: number } | number;
  testRun(
    program: FdHandle,
    dataIn: Bytes,
    dataOut: Bytes,
    contextIn: Bytes,
    contextOut: Bytes,
    repeat: number,
  ): TestRunResult | number;
  linkCreate(program: FdHandle, target: number, attachType: number): FdHandle | number;
  linkUpdate(link: FdHandle, program: FdHandle): number;
  linkDetach(link: FdHandle): number;
  linkInfo(link: FdHandle): LinkDescription | number;
  attachedPrograms(target: number, attachType: number): readonly number[] | number;
  ringOpen(map: FdHandle, onRecord: (record: Buffer) => void): RingHandle | number;
  ringRef(ring: RingHandle, wanted: boolean): void;
  ringClose(ring: RingHandle): void;
  probeProgramType(type: number): number;
  probeMapType(type: number): number;
  probeHelper(programType: number, helper: number): number;
}

function load(): Native {
  try {
    return createRequire(import.meta.url)('../build/ebpf.node') as Native;
  } catch (cause) {
    throw new BpfError(
      'ENOENT',
      'the native add-on ebpf-loader-ts cannot be loaded; build it with make, and install libbpf',
      {
        cause,
      },
    );
  }
}

export const native: Native = load();

/**
 * One eBPF object file on its way into the kernel: open, set constants, choose maps, load, take out maps and programs.
 * The maps and programs taken out have descriptors of their own and outlive the object.
 */
import { BpfError, checked, checkedValue, toBpfError } from './errors.ts';
import { BpfMap } from './map.ts';
import { type MapDescription, native, type ObjectHandle, type ProgramDescription } from './native.ts';
import { BpfProgram } from './program.ts';

export interface OpenOptions {
  /** Prefix of the names of internal maps; for people only. */
  readonly name?: string;
}

/** A constant: an integer that fits the variable, or its bytes in host order. */
export type Constant = number | bigint | boolean | Uint8Array;

/** Owns an opened object. Dispose it as soon as the maps and programs are taken out. */
export class BpfObject implements Disposable {
  readonly #handle: ObjectHandle;
  readonly #programs: ReadonlyMap<string, ProgramDescription>;

  private constructor(handle: ObjectHandle) {
    this.#handle = handle;
    this.#programs = new Map(native.objectPrograms(handle).map((program) => [program.name, program]));
  }

  /** Parses an ELF object with BTF, as `clang -target bpf -g` makes it. Throws with libbpf's words in `verifierLog`. */
  static open(bytes: Uint8Array, options: OpenOptions = {}): BpfObject {
    native.takeLog();
    const handle = native.openObject(bytes, options.name ?? 'object');
    if (typeof handle === 'number') throw toBpfError(handle, 'open an eBPF object', native.takeLog());
    return new BpfObject(handle);
  }

  /** Maps that the object declares, as they would be created now; internal ones (`.rodata`) left out. */
  get maps(): readonly MapDescription[] {
    return native.objectMaps(this.#handle).filter((map) => map.internal === 0);
  }

  get programs(): readonly ProgramDescription[] {
    return [...this.#programs.values()];
  }

  /** Sets `const volatile` variables by name. Throws ENOENT for an unknown name, EINVAL when a value does not fit. */
  setRodata(constants: Readonly<Record<string, Constant>>): void {
    const variables = native.objectVariables(this.#handle).filter(({ section }) => section === '.rodata');
    const internal = native.objectMaps(this.#handle).find(({ name }) => name.endsWith('.rodata'));
    if (internal === undefined) throw new BpfError('ENOENT', 'the object has no constants');
    const section = checkedValue(native.initialValue(this.#handle, internal.name), 'read the constants');
    for (const [name, value] of Object.entries(constants)) {
      const variable = variables.find((candidate) => candidate.name === name);
      if (variable === undefined) throw new BpfError('ENOENT', `the object has no constant ${name}`);
      toBytes(name, value, variable.size).copy(section, variable.offset);
    }
    checked(native.setInitialValue(this.#handle, internal.name, section), 'set the constants');
  }

  /** Sizes a map before load, for tests and small machines. */
  setMaxEntries(map: string, count: number): void {
    checked(native.setMaxEntries(this.#handle, map, count), `size map ${map}`);
  }

  /** Leaves a program out of the load. */
  setAutoload(program: string, wanted: boolean): void {
    checked(native.setAutoload(this.#handle, program, wanted), `choose program ${program}`);
  }

  /** Uses an existing map instead of a new one; throws EINVAL when it does not fit the declaration. */
  reuseMap(name: string, map: BpfMap): void {
    const wanted = this.maps.find((candidate) => candidate.name === name);
    if (wanted === undefined) throw new BpfError('ENOENT', `the object has no map ${name}`);
    if (!map.fits(wanted)) throw new BpfError('EINVAL', `the existing map ${name} has another shape`);
    checked(native.reuseMap(this.#handle, name, map.handle), `reuse map ${name}`);
  }

  /** Creates the maps and gives the programs to the verifier, whose log is in the error's `verifierLog`. */
  load(): void {
    native.takeLog();
    const result = native.loadObject(this.#handle);
    if (result < 0) throw toBpfError(result, 'load an eBPF object', native.takeLog());
  }

  /** A loaded map; the caller disposes it. */
  map(name: string): BpfMap {
    return BpfMap.fromHandle(checkedValue(native.mapOf(this.#handle, name), `map ${name}`));
  }

  /** A loaded program; the caller disposes it. */
  program(name: string): BpfProgram {
    const description = this.#programs.get(name);
    if (description === undefined) throw new BpfError('ENOENT', `the object has no program ${name}`);
    const handle = checkedValue(native.programOf(this.#handle, name), `program ${name}`);
    return BpfProgram.fromHandle(handle, description.attachType);
  }

  [Symbol.dispose](): void {
    native.close(this.#handle);
  }
}

/** The bytes of a constant of `size` bytes, in host order (all supported machines are little endian). */
function toBytes(name: string, value: Constant, size: number): Buffer {
  if (value instanceof Uint8Array) {
    if (value.length !== size) throw new BpfError('EINVAL', `constant ${name} has ${size} bytes, not ${value.length}`);
    return Buffer.from(value);
  }
  const number = BigInt(value);
  if (size > 8 || (BigInt.asIntN(size * 8, number) !== number && BigInt.asUintN(size * 8, number) !== number)) {
    throw new BpfError('EINVAL', `constant ${name} has ${size} bytes, too few for ${value}`);
  }
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, number));
  return bytes.subarray(0, size);
}

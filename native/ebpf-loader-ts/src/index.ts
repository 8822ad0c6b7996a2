/** Load, attach and pin eBPF programs: bindings to libbpf. Linux only. What owns a descriptor is Disposable. */
export { BpfError } from './errors.ts';
export type { AttachType, Helper, MapType, ProgramType } from './kernel-names.ts';
export { BpfLink } from './link.ts';
export { BpfMap, possibleCpus, unpin } from './map.ts';
export type { LinkDescription, MapDescription, ProgramDescription } from './native.ts';
export { BpfObject, type Constant, type OpenOptions } from './object.ts';
export { describeFeature, type Feature, probe } from './probe.ts';
export { attachedPrograms, BpfProgram, type TestRun, type TestRunInput } from './program.ts';
export { RingBuffer } from './ring-buffer.ts';

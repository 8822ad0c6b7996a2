/** Typed face of the capture programs. */
export { ensureBpffs } from './bpffs.ts';
export {
  CapturePrograms,
  type CaptureProgramsOptions,
  type NamespaceRef,
  type PodCapture,
  type PodCaptureState,
  removePins,
} from './capture-programs.ts';
export type { CaptureEvent, CounterName } from './layout.ts';

/** How traffic of a pod is brought to the tunnel: the port, and its back-ends. */
export { EbpfBackend, type EbpfOptions } from './ebpf.ts';
export { IptablesBackend, type IptablesOptions } from './iptables.ts';
export { chooseIptables, type IptablesBinaries, type IptablesVariant } from './iptables-binary.ts';
export { type CommandResult, mustRun, type RunCommand, runCommand } from './netns-command.ts';
export { NftablesBackend } from './nftables.ts';
export { findPodsCgroup } from './pods-cgroup.ts';
export {
  BACKEND_NAMES,
  type BackendName,
  type CapturedPod,
  type CaptureOptions,
  type CaptureState,
  type Exclusions,
  type RedirectBackend,
  type Usability,
} from './port.ts';
export { PROBE_SOURCE } from './rules.ts';

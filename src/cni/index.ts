/** The node agent: enrolment of pods, capture of their traffic, installation of the CNI plugin. */
export { type AgentMetrics, agentMetrics, type InstallResult } from './agent/agent-metrics.ts';
export { BackendChoice } from './agent/backend-choice.ts';
export { CAPTURE_CONDITION } from './agent/capture-condition.ts';
export { DEFAULT_SELECTORS, type EnrolmentRules, parseSelectors } from './agent/enrolment.ts';
export { type NodeAgent, type NodeAgentConfig, startNodeAgent } from './agent/node-agent.ts';
export { PluginLog } from './agent/plugin-log.ts';
export { podUidOf } from './agent/procfs.ts';
export { findDeparture, Installer, type InstallerOptions, type InstallMode } from './install/index.ts';
export {
  BACKEND_NAMES,
  type BackendName,
  EbpfBackend,
  findPodsCgroup,
  IptablesBackend,
  type IptablesVariant,
  NftablesBackend,
  type RedirectBackend,
  type RunCommand,
  runCommand,
} from './redirect/index.ts';

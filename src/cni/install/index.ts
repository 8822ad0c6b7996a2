/** Installation of the CNI plugin on the node. */
export type { InstallMode } from './config-plan.ts';
export { findDeparture } from './departure.ts';
export { Installer, type InstallerOptions, type InstallOutcome } from './installer.ts';
export type { PluginSettings } from './plugin-entry.ts';

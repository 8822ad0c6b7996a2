/**
 * What to write into a folder of CNI configuration, decided from what is in it. Pure: files in, a decision out.
 * A runtime uses the first valid file by name; so do we.
 */
import { errorMessage } from '../../core/errors.ts';
import {
  configText,
  hasEntry,
  insertEntry,
  listFileName,
  type NetworkConfig,
  PLUGIN_TYPE,
  parseNetworkConfig,
  pluginTypes,
  removeEntry,
} from './plugin-entry.ts';

export interface ConfigFile {
  readonly name: string;
  readonly text: string;
}

export type InstallMode =
  /** Our entry is appended to the node's own list; `name` fixes which one. */
  | { readonly kind: 'chained'; readonly name?: string }
  /** The node's list is left alone; a copy with our entry goes into `file`, which must sort before it. */
  | { readonly kind: 'owned'; readonly file: string; readonly name?: string }
  /** Our entry alone, for meta plugins that call it. */
  | { readonly kind: 'standalone'; readonly file: string };

export type ConfigPlan =
  | { readonly action: 'write'; readonly file: string; readonly text: string; readonly remove?: string }
  /** There is no network configuration yet. */
  | { readonly action: 'wait' };

interface Candidate {
  readonly name: string;
  readonly config: NetworkConfig;
}

/** What to write so that pods go through our entry. Total. */
export function planConfig(
  files: readonly ConfigFile[],
  mode: InstallMode,
  entry: Readonly<Record<string, unknown>>,
): ConfigPlan {
  if (mode.kind === 'standalone') return { action: 'write', file: mode.file, text: configText(entry) };
  const primary = findPrimary(files, mode);
  if (primary === undefined) return { action: 'wait' };
  const text = configText(insertEntry(primary.config, entry));
  if (mode.kind === 'owned') return { action: 'write', file: mode.file, text };
  const file = listFileName(primary.name);
  return file === primary.name
    ? { action: 'write', file, text }
    : { action: 'write', file, text, remove: primary.name };
}

/** Why pods would not go through the entry in `written`; undefined: they do. Total. */
export function findConfigFault(
  files: readonly ConfigFile[],
  mode: InstallMode,
  written: string | undefined,
): string | undefined {
  if (written === undefined) return 'nothing was installed yet';
  const valid = candidates(files);
  if (mode.kind === 'standalone') {
    const own = valid.find(({ name }) => name === mode.file);
    return own && pluginTypes(own.config)[0] === PLUGIN_TYPE ? undefined : `${mode.file} is not ours any more`;
  }
  const first = mode.name === undefined ? valid[0] : findNamed(valid, written);
  if (first?.name !== written) return `${first?.name ?? 'no file'} is used instead of ${written}`;
  if (!hasEntry(first.config)) return `${written} has lost our entry`;
  if (mode.kind === 'chained') return undefined;
  const ours = pluginTypes(first.config);
  const missing = pluginTypes(findPrimary(files, mode)?.config ?? first.config).find((type) => !ours.includes(type));
  return missing === undefined ? undefined : `${written} lacks the plugin ${missing} of the node's list`;
}

export type ConfigRemoval =
  | { readonly action: 'write'; readonly file: string; readonly text: string }
  | { readonly action: 'delete'; readonly file: string };

/** How every trace of our entry is taken out again. Total. */
export function planRemoval(files: readonly ConfigFile[], mode: InstallMode): readonly ConfigRemoval[] {
  return candidates(files).flatMap(({ name, config }): readonly ConfigRemoval[] => {
    if (!hasEntry(config)) return [];
    if (mode.kind !== 'chained' && name === mode.file) return [{ action: 'delete', file: name }];
    const rest = removeEntry(config);
    return [rest ? { action: 'write', file: name, text: configText(rest) } : { action: 'delete', file: name }];
  });
}

/** Files that a runtime would pass over, with the reason, for the log. */
export function findSkipped(files: readonly ConfigFile[]): readonly string[] {
  return files.flatMap(({ name, text }) => {
    const fault = isConfigName(name) ? faultOf(text) : undefined;
    return fault === undefined ? [] : [`${name}: ${fault}`];
  });
}

export function isConfigName(name: string): boolean {
  return /\.conf(list)?$/.test(name);
}

function findPrimary(files: readonly ConfigFile[], mode: InstallMode): Candidate | undefined {
  const valid = candidates(files);
  if (mode.kind === 'owned') {
    const others = valid.filter(({ name }) => name !== mode.file);
    return mode.name === undefined ? others[0] : findNamed(others, mode.name);
  }
  if (mode.kind === 'standalone' || mode.name === undefined) return valid[0];
  return findNamed(valid, mode.name);
}

/** A file by its name, or by the same name with the other extension. */
function findNamed(valid: readonly Candidate[], name: string): Candidate | undefined {
  const sibling = name.endsWith('.conflist') ? name.slice(0, -'list'.length) : listFileName(name);
  return valid.find((c) => c.name === name) ?? valid.find((c) => c.name === sibling);
}

function candidates(files: readonly ConfigFile[]): readonly Candidate[] {
  return files
    .filter(({ name, text }) => isConfigName(name) && faultOf(text) === undefined)
    .map(({ name, text }) => ({ name, config: parseNetworkConfig(text) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function faultOf(text: string): string | undefined {
  try {
    parseNetworkConfig(text);
    return undefined;
  } catch (error) {
    return errorMessage(error);
  }
}

/**
 * Network configuration lists as a container runtime reads them: the first usable file of the folder, and per plugin the
 * JSON that goes to its standard input.
 * Source: CNI specification 1.0.0, sections 1 (format), 3 (derived configuration) and 4 (results).
 */
import { MeshError } from '../core/errors.ts';

export interface CniPluginConfig {
  readonly type: string;
  readonly [key: string]: unknown;
}

export interface CniNetworkList {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly CniPluginConfig[];
}

/** The part of a plugin's result that the runtime reads; all of it is handed to the next plugin. */
export interface CniResult {
  readonly cniVersion?: string;
  readonly ips?: readonly { readonly address: string; readonly gateway?: string; readonly interface?: number }[];
  readonly [key: string]: unknown;
}

/** What a runtime tells every plugin about one attachment. */
export interface CniAttachment {
  readonly containerId: string;
  /** Absent for a DEL whose namespace is gone. */
  readonly netns?: string;
  readonly ifName: string;
  readonly args: Readonly<Record<string, string>>;
}

/** Parses one file. Throws ERR_MALFORMED. A single configuration becomes a list of one. */
export function parseNetworkList(text: string): CniNetworkList {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MeshError('ERR_MALFORMED', 'the network configuration is not JSON', { cause });
  }
  if (!isRecord(value)) throw new MeshError('ERR_MALFORMED', 'the network configuration is not an object');
  const { cniVersion = '0.1.0', name, plugins, type } = value;
  if (typeof cniVersion !== 'string' || typeof name !== 'string' || name === '') {
    throw new MeshError('ERR_MALFORMED', 'the network configuration has no name or a bad cniVersion');
  }
  if (typeof type === 'string') return { cniVersion, name, plugins: [{ ...value, type }] };
  if (!Array.isArray(plugins) || plugins.length === 0 || !plugins.every(isPluginConfig)) {
    throw new MeshError('ERR_MALFORMED', 'the network configuration has no plugins, or one without a type');
  }
  return { cniVersion, name, plugins };
}

/** File names a runtime considers, in its order. */
export function configurationFiles(names: readonly string[]): readonly string[] {
  return names.filter((name) => /\.(conf|conflist|json)$/.test(name)).sort();
}

/** Standard input of one plugin. `capabilities` are answered with nothing asked for. */
export function pluginInput(list: CniNetworkList, plugin: CniPluginConfig, prevResult?: CniResult): string {
  const { capabilities: _dropped, ...config } = plugin;
  const previous = prevResult ? { prevResult } : {};
  return JSON.stringify({ ...config, name: list.name, cniVersion: list.cniVersion, ...previous });
}

/** Environment of one plugin. */
export function pluginEnv(
  command: 'ADD' | 'DEL' | 'CHECK',
  attachment: CniAttachment,
  binDir: string,
): Readonly<Record<string, string>> {
  const args = Object.entries(attachment.args).map(([key, value]) => `${key}=${value}`);
  return {
    CNI_COMMAND: command,
    CNI_CONTAINERID: attachment.containerId,
    ...(attachment.netns === undefined ? {} : { CNI_NETNS: attachment.netns }),
    CNI_IFNAME: attachment.ifName,
    CNI_ARGS: args.join(';'),
    CNI_PATH: binDir,
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
  };
}

/** The message of a plugin's error JSON, or its raw words. */
export function pluginErrorText(stdout: string, stderr: string): string {
  try {
    const value: unknown = JSON.parse(stdout);
    if (isRecord(value) && typeof value.msg === 'string') {
      const details = typeof value.details === 'string' && value.details !== '' ? `: ${value.details}` : '';
      return `${value.msg}${details}`;
    }
  } catch {
    // not JSON: its words are all there is
  }
  return stdout.trim() || stderr.trim() || 'no output';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isPluginConfig(value: unknown): value is CniPluginConfig {
  return isRecord(value) && typeof value.type === 'string' && value.type !== '';
}

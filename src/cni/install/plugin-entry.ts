/**
 * Content of CNI configuration files: our entry, how it goes into the node's network list, and how it leaves. Pure.
 * Source: CNI specification 1.1.0, section 1; keys of the entry as Istio's installer writes them.
 */
import { MeshError } from '../../core/errors.ts';

/** Type of the entry, and name of the executable. */
export const PLUGIN_TYPE = 'istio-cni';
/** Of a list that is made around a single configuration. */
const WRAPPED_LIST = { name: 'k8s-pod-network', cniVersion: '0.3.1' } as const;
const CONFIG_BYTES_MAX = 1024 * 1024;

export interface PluginSettings {
  readonly logLevel: string;
  readonly agentRunDir: string;
  readonly selectors: readonly object[];
  readonly excludedNamespaces: readonly string[];
  /** Namespace of the agent. */
  readonly podNamespace: string;
}

type JsonObject = Readonly<Record<string, unknown>>;

/** A file that a container runtime would read: a list of plugins or a single one. */
export type NetworkConfig =
  | { readonly form: 'list'; readonly value: JsonObject; readonly plugins: readonly JsonObject[] }
  | { readonly form: 'single'; readonly value: JsonObject };

export function pluginEntry(settings: PluginSettings): JsonObject {
  return {
    name: PLUGIN_TYPE,
    type: PLUGIN_TYPE,
    plugin_log_level: settings.logLevel,
    cni_agent_run_dir: settings.agentRunDir,
    ambient_enabled: true,
    enablement_selectors: settings.selectors,
    exclude_namespaces: settings.excludedNamespaces,
    pod_namespace: settings.podNamespace,
    native_nftables: false,
    enable_ambient_detection_retry: false,
  };
}

/** Throws ERR_MALFORMED for what a container runtime would pass over. */
export function parseNetworkConfig(text: string): NetworkConfig {
  if (text.length > CONFIG_BYTES_MAX) throw new MeshError('ERR_MALFORMED', 'a network configuration over 1 MiB');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MeshError('ERR_MALFORMED', 'a network configuration is not JSON', { cause });
  }
  if (!isObject(value)) throw new MeshError('ERR_MALFORMED', 'a network configuration is not an object');
  if (Array.isArray(value.plugins)) {
    const plugins: readonly unknown[] = value.plugins;
    if (plugins.length === 0 || !plugins.every(isObject))
      throw new MeshError('ERR_MALFORMED', 'a network list has no plugins');
    return { form: 'list', value, plugins: plugins as readonly JsonObject[] };
  }
  if (typeof value.type !== 'string' || value.type === '')
    throw new MeshError('ERR_MALFORMED', 'a network configuration has neither type nor plugins');
  return { form: 'single', value };
}

/** The configuration as a list with our entry last, once; everything else as it was. */
export function insertEntry(config: NetworkConfig, entry: JsonObject): JsonObject {
  if (config.form === 'list') return { ...config.value, plugins: [...withoutOurs(config.plugins), entry] };
  const { cniVersion: _, ...plugin } = config.value;
  return { ...WRAPPED_LIST, plugins: [...withoutOurs([plugin]), entry] };
}

/** The list without our entry; undefined when it has none or is nothing but that. */
export function removeEntry(config: NetworkConfig): JsonObject | undefined {
  if (config.form === 'single') return undefined;
  const plugins = withoutOurs(config.plugins);
  if (plugins.length === 0 || plugins.length === config.plugins.length) return undefined;
  return { ...config.value, plugins };
}

export function hasEntry(config: NetworkConfig): boolean {
  return pluginTypes(config).includes(PLUGIN_TYPE);
}

export function pluginTypes(config: NetworkConfig): readonly string[] {
  const plugins = config.form === 'list' ? config.plugins : [config.value];
  return plugins.map(({ type }) => String(type));
}

/** A list lives in a `.conflist`. */
export function listFileName(name: string): string {
  return name.endsWith('.conf') ? `${name}list` : name;
}

export function configText(value: JsonObject): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function withoutOurs(plugins: readonly JsonObject[]): readonly JsonObject[] {
  return plugins.filter(({ type }) => type !== PLUGIN_TYPE);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

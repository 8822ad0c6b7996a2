/** Configuration of the node agent. Source: the variables of Istio's CNI node agent; ours are marked. */
import { fileURLToPath } from 'node:url';
import {
  BACKEND_NAMES,
  type BackendName,
  DEFAULT_SELECTORS,
  type EnrolmentRules,
  type InstallerOptions,
  type InstallMode,
  type IptablesVariant,
  type NodeAgentConfig,
  parseSelectors,
} from '../cni/index.ts';
import {
  asBoolean,
  asDurationMs,
  asPort,
  asString,
  ConfigReader,
  type Env,
  type Parse,
} from '../core/config-reader.ts';
import { LogFilter } from '../core/log-filter.ts';
import type { LogFormat } from '../core/log-writer.ts';
import { type ProviderConfig, readProviderConfig } from './kube-provider.ts';

export interface CniConfig {
  readonly agent: NodeAgentConfig;
  /** A directory of Kubernetes YAML (ours), or an API server. */
  readonly provider: ProviderConfig;
  /** Undefined: the first that works (ours). */
  readonly backend: BackendName | undefined;
  /** Must be usable; others are not even probed with iptables (Istio's choice between the two variants). */
  readonly iptablesVariant: IptablesVariant | undefined;
  /** Where the node's `/proc`, `/sys/fs/cgroup` and `/var/run/netns` are mounted: `/host` in a pod, empty on the node. */
  readonly hostMountsDir: string;
  /** Rules of the node go to the namespace of its first process, not to the agent's own. */
  readonly switchToHostNetns: boolean;
  /** cgroup2 folder of the node's pods (ours); undefined: found from the agent's own. Without it no capture by eBPF. */
  readonly podsCgroup: string | undefined;
  /** UID of the agent's own pod (ours); undefined: read from its cgroup. */
  readonly podUid: string | undefined;
  readonly bpfPinDir: string;
  readonly install: Pick<
    InstallerOptions,
    'binSourceDir' | 'binDirs' | 'configDir' | 'mode' | 'configFileMode' | 'plugin'
  >;
  /** Remove plugin and host rules at the end. */
  readonly cleanOnExit: boolean;
  readonly healthPort: number;
  readonly metricsPort: number;
  readonly log: { readonly filter: string; readonly format: LogFormat };
}

const BUILT_PLUGIN_DIR = fileURLToPath(new URL('../../native/cni-plugin/build', import.meta.url));

/** Throws ERR_CONFIG with every problem. */
export function parseCniConfig(env: Env): CniConfig {
  const read = new ConfigReader(env);
  const backend = read.optional('REDIRECT_BACKEND', asBackend, 'auto');
  const runDir = read.optional('CNI_AGENT_RUN_DIR', asString, '/var/run/istio-cni');
  const podsCgroup = env.KUBEPODS_CGROUP || undefined;
  const hostMountsDir = read.optional('HOST_MOUNTS_DIR', asString, '').replace(/\/$/, '');
  const nodeName = read.required('NODE_NAME', asString);
  const excluded = read.optional('EXCLUDE_NAMESPACES', asString, 'kube-system');
  const rules: EnrolmentRules = {
    selectors: read.optional('AMBIENT_ENABLEMENT_SELECTOR', parseSelectors, DEFAULT_SELECTORS),
    excludedNamespaces: new Set(
      excluded
        .split(',')
        .map((name) => name.trim())
        .filter(Boolean),
    ),
    systemNamespace: read.optional('SYSTEM_NAMESPACE', asString, 'istio-system'),
  };
  return read.done({
    agent: {
      nodeName,
      runDir,
      zdsPath: read.optional('ZTUNNEL_UDS_ADDRESS', asString, '/var/run/ztunnel/ztunnel.sock'),
      rules,
      defaults: {
        dnsCapture: read.optional('AMBIENT_DNS_CAPTURE', asBoolean, true),
        ipv6: read.optional('AMBIENT_IPV6', asBoolean, true),
      },
      procfs: {
        procDir: read.optional('HOST_PROC_DIR', asString, `${hostMountsDir}/proc`),
        kubepodsCgroup: podsCgroup,
      },
      hostMountsDir,
      // Long enough for the control plane to tell every tunnel on a busy mesh that a pod has left.
      lingerMs: read.optional('UNENROL_LINGER', asDurationMs, 1_000),
    },
    provider: readProviderConfig(read, env),
    backend: backend === 'auto' ? undefined : backend,
    iptablesVariant: read.optional<IptablesVariant | undefined>('FORCE_IPTABLES_BINARY', asVariant, undefined),
    hostMountsDir,
    switchToHostNetns: read.optional('ALLOW_SWITCH_TO_HOST_NS', asBoolean, false),
    podsCgroup,
    podUid: env.POD_UID || undefined,
    bpfPinDir: read.optional('BPF_PIN_DIR', asString, '/sys/fs/bpf/culvert'),
    install: {
      binSourceDir: read.optional('CNI_BIN_SOURCE_DIR', asString, BUILT_PLUGIN_DIR),
      binDirs: [read.optional('CNI_BIN_DIR', asString, '/host/opt/cni/bin')],
      configDir: read.optional('MOUNTED_CNI_NET_DIR', asString, '/host/etc/cni/net.d'),
      mode: readInstallMode(read),
      configFileMode: read.optional('CNI_CONF_GROUP_READ', asBoolean, false) ? 0o640 : 0o600,
      plugin: {
        logLevel: 'info',
        agentRunDir: runDir,
        selectors: rules.selectors,
        excludedNamespaces: [...rules.excludedNamespaces],
        podNamespace: read.optional('POD_NAMESPACE', asString, rules.systemNamespace),
      },
    },
    cleanOnExit: read.optional('AMBIENT_DISABLE_SAFE_UPGRADE', asBoolean, false),
    healthPort: read.optional('HEALTH_PORT', asPort, 8_000),
    metricsPort: read.optional('MONITORING_PORT', asPort, 15_014),
    log: {
      filter: read.optional('LOG_LEVEL', asLogFilter, 'info'),
      format: read.optional('LOG_FORMAT', asLogFormat, 'plain'),
    },
  });
}

function readInstallMode(read: ConfigReader): InstallMode {
  const name = read.optional<string | undefined>('CNI_CONF_NAME', asString, undefined);
  if (!read.optional('CHAINED_CNI_PLUGIN', asBoolean, true)) {
    return { kind: 'standalone', file: name ?? 'YYY-istio-cni.conf' };
  }
  if (read.optional('ISTIO_OWNED_CNI_CONFIG', asBoolean, false)) {
    const file = read.optional('ISTIO_OWNED_CNI_CONFIG_FILENAME', asString, '02-istio-cni.conflist');
    return { kind: 'owned', file };
  }
  return { kind: 'chained', ...(name === undefined ? {} : { name }) };
}

const asBackend: Parse<BackendName | 'auto'> = (text) => {
  const found = (['auto', ...BACKEND_NAMES] as const).find((name) => name === text);
  if (found === undefined) throw new Error(`expected auto, ${BACKEND_NAMES.join(', ')}`);
  return found;
};

const asVariant: Parse<IptablesVariant> = (text) => {
  if (text === 'legacy' || text === 'nft') return text;
  throw new Error('expected legacy or nft');
};

const asLogFilter: Parse<string> = (text) => {
  new LogFilter(text);
  return text;
};

const asLogFormat: Parse<LogFormat> = (text) => {
  if (text === 'plain' || text === 'json') return text;
  throw new Error('expected plain or json');
};

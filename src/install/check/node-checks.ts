/** Checks of nodes: what Kubernetes knows of them, and what a short-lived pod found there. Pure. */
import type { ApiObject } from '../cluster/cluster.ts';
import { type Finding, fault, info, ok, warning } from './finding.ts';

interface NodeInfo {
  readonly kernelVersion?: string;
  readonly architecture?: string;
  readonly operatingSystem?: string;
  readonly containerRuntimeVersion?: string;
  readonly kubeletVersion?: string;
}

type Node = ApiObject & { readonly status?: { readonly nodeInfo?: NodeInfo } };

const MIN_KERNEL = [4, 19] as const;
const EBPF_KERNEL = [5, 15] as const;

/** Platforms that keep the files of container networking elsewhere, by what their kubelet calls itself. */
const PLATFORMS: readonly { readonly mark: RegExp; readonly name: string; readonly settings: string }[] = [
  {
    mark: /\+k3s/,
    name: 'k3s',
    settings:
      '--set cni.cniConfDir=/var/lib/rancher/k3s/agent/etc/cni/net.d --set cni.cniBinDir=/var/lib/rancher/k3s/data/cni',
  },
  {
    mark: /-gke\./,
    name: 'GKE',
    settings: '--set cni.cniBinDir=/home/kubernetes/bin --set cni.resourceQuotas.enabled=true',
  },
  {
    mark: /microk8s/,
    name: 'MicroK8s',
    settings:
      '--set cni.cniConfDir=/var/snap/microk8s/current/args/cni-network --set cni.cniBinDir=/var/snap/microk8s/current/opt/cni/bin',
  },
];

export function checkNodes(nodes: readonly ApiObject[]): readonly Finding[] {
  const findings = (nodes as readonly Node[]).flatMap(({ metadata, status }) => {
    const { kernelVersion = '', architecture = '', operatingSystem = 'linux' } = status?.nodeInfo ?? {};
    if (operatingSystem !== 'linux') return [info(`node ${metadata.name} runs ${operatingSystem} and stays outside`)];
    const found: Finding[] = [];
    if (!['amd64', 'arm64'].includes(architecture))
      found.push(fault(`node ${metadata.name}: no images for ${architecture}`));
    if (isOlder(kernelVersion, MIN_KERNEL)) {
      found.push(fault(`node ${metadata.name}: kernel ${kernelVersion} is too old, ${MIN_KERNEL.join('.')} is needed`));
    } else if (isOlder(kernelVersion, EBPF_KERNEL)) {
      const what = `node ${metadata.name}: kernel ${kernelVersion} has no eBPF capture (${EBPF_KERNEL.join('.')})`;
      found.push(info(`${what}; nftables or iptables capture is used`));
    }
    return found;
  });
  const platform = PLATFORMS.find(({ mark }) =>
    (nodes as readonly Node[]).some(({ status }) => mark.test(status?.nodeInfo?.kubeletVersion ?? '')),
  );
  const hints = platform
    ? [warning(`this is ${platform.name}: folders of the nodes are elsewhere`, platform.settings)]
    : [];
  return [
    ...(findings.length > 0 ? findings : [ok(`${nodes.length} nodes: system, architecture and kernel`)]),
    ...hints,
  ];
}

/** What `culvert node-check` prints on a node. */
export interface NodeReport {
  readonly kernel: string;
  readonly cgroup: 'v1' | 'v2' | 'hybrid' | 'none';
  /** By name: empty when usable, else why not. */
  readonly backends: Readonly<Record<string, string>>;
  /** Capabilities that are needed and missing. */
  readonly missingCapabilities: readonly string[];
  readonly hasBpfFileSystem: boolean;
  /** Configuration files of container networking, in the order of their names, and the plugins of the first. */
  readonly cniFiles: readonly string[];
  readonly cniPlugins: readonly string[];
}

export function checkNodeReport(node: string, report: NodeReport): readonly Finding[] {
  const findings: Finding[] = [];
  const usable = Object.keys(report.backends).filter((name) => report.backends[name] === '');
  const reasons = Object.entries(report.backends).flatMap(([name, why]) => (why === '' ? [] : [`${name}: ${why}`]));
  if (report.missingCapabilities.length > 0) {
    const what = `node ${node} does not grant ${report.missingCapabilities.join(', ')}`;
    findings.push(fault(what, 'label the namespace pod-security.kubernetes.io/enforce=privileged; look at policies'));
  }
  if (usable.length === 0) findings.push(fault(`node ${node} has no way to capture: ${reasons.join('; ')}`));
  else if (usable[0] !== 'ebpf') {
    findings.push(info(`node ${node} captures by ${usable[0]} (cgroup ${report.cgroup}; ${reasons.join('; ')})`));
  }
  if (!report.hasBpfFileSystem && report.backends.ebpf === '') {
    const what = `node ${node} has no bpf file system: eBPF capture would not outlive the agent`;
    findings.push(warning(what, 'mount -t bpf bpf /sys/fs/bpf'));
  }
  if (report.cniFiles.length === 0) {
    const what = `node ${node} has no configuration of container networking`;
    findings.push(fault(what, 'install a CNI plugin, or say where: --set cni.cniConfDir=...'));
  }
  const plugins = report.cniPlugins.length > 0 ? `, plugins ${report.cniPlugins.join(', ')}` : '';
  const summary = `node ${node}: kernel ${report.kernel}, cgroup ${report.cgroup}, ${usable.join(', ')}${plugins}`;
  return findings.some(({ level }) => level === 'error') ? findings : [ok(summary), ...findings];
}

function isOlder(version: string, [major, minor]: readonly [number, number]): boolean {
  const [, a = '0', b = '0'] = /^(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(a) < major || (Number(a) === major && Number(b) < minor);
}

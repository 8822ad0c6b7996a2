/** Container networking and its traps: who provides it, and settings under which captured traffic is lost. Pure. */
import type { ApiObject } from '../cluster/cluster.ts';
import { type Finding, fault, info, ok, warning } from './finding.ts';

/** DaemonSets by which a provider is known. */
const PROVIDERS: Readonly<Record<string, string>> = {
  cilium: 'Cilium',
  'calico-node': 'Calico',
  canal: 'Canal',
  'kube-flannel-ds': 'Flannel',
  'kube-flannel': 'Flannel',
  'antrea-agent': 'Antrea',
  'weave-net': 'Weave Net',
  'aws-node': 'Amazon VPC CNI',
  'azure-cni-networkmonitor': 'Azure CNI',
  kindnet: 'kindnet',
  'kube-router': 'kube-router',
  'kube-ovn-cni': 'Kube-OVN',
  'ovnkube-node': 'OVN-Kubernetes',
};

export function findProvider(daemonSets: readonly ApiObject[]): string | undefined {
  return daemonSets.map(({ metadata }) => PROVIDERS[metadata.name]).find((name) => name !== undefined);
}

export interface NetworkObjects {
  readonly daemonSets: readonly ApiObject[];
  /** ConfigMap `cilium-config`. */
  readonly ciliumConfig: ApiObject | undefined;
}

type DaemonSet = ApiObject & {
  readonly spec?: {
    readonly template?: {
      readonly spec?: {
        readonly containers?: readonly {
          readonly env?: readonly { readonly name: string; readonly value?: string }[];
        }[];
      };
    };
  };
};

export function checkNetworkProvider({ daemonSets, ciliumConfig }: NetworkObjects): readonly Finding[] {
  const provider = findProvider(daemonSets);
  if (provider === undefined) return [info('the provider of pod networking is not one that is known here')];
  const traps = provider === 'Cilium' ? checkCilium(ciliumConfig?.data ?? {}) : [];
  const aws = daemonSets.find(({ metadata }) => metadata.name === 'aws-node') as DaemonSet | undefined;
  const env = (aws?.spec?.template?.spec?.containers ?? []).flatMap((container) => container.env ?? []);
  if (env.some(({ name, value }) => name === 'POD_SECURITY_GROUP_ENFORCING_MODE' && value === 'strict')) {
    const fix = 'kubectl -n kube-system set env daemonset aws-node POD_SECURITY_GROUP_ENFORCING_MODE=standard';
    traps.push(warning('security groups for pods in strict mode drop kubelet probes of captured pods', fix));
  }
  return traps.length > 0 ? [info(`pod networking by ${provider}`), ...traps] : [ok(`pod networking by ${provider}`)];
}

/** Source: Cilium agent options, as they stand in its ConfigMap. */
function checkCilium(config: Readonly<Record<string, string>>): Finding[] {
  const findings: Finding[] = [];
  if (config['cni-exclusive'] !== 'false') {
    const what = 'Cilium removes other CNI plugins from the nodes (cni.exclusive)';
    findings.push(
      fault(what, 'helm upgrade cilium cilium/cilium -n kube-system --reuse-values --set cni.exclusive=false'),
    );
  }
  const replacesProxy = config['kube-proxy-replacement'] === 'true' || config['kube-proxy-replacement'] === 'strict';
  const balancesInPods =
    (config['bpf-lb-sock'] ?? String(replacesProxy)) === 'true' && config['bpf-lb-sock-hostns-only'] !== 'true';
  if (balancesInPods) {
    const what =
      'Cilium replaces Service addresses inside pods (socketLB): the mesh never sees which Service was called';
    findings.push(
      fault(
        what,
        'helm upgrade cilium cilium/cilium -n kube-system --reuse-values --set socketLB.hostNamespaceOnly=true',
      ),
    );
  }
  if (config['enable-bpf-masquerade'] === 'true' && config['enable-host-legacy-routing'] !== 'true') {
    const what = 'Cilium masquerades by BPF: kubelet probes from the link-local address of the mesh may be lost';
    findings.push(
      warning(what, 'helm upgrade cilium cilium/cilium -n kube-system --reuse-values --set bpf.masquerade=false'),
    );
  }
  return findings;
}

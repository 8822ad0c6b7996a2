/**
 * The node agent: DaemonSet `istio-cni-node`. Not privileged, not in the node's namespaces: it gets the node's folders
 * and the capabilities below. Source: Istio chart istio-cni.
 */
import type { V1DaemonSet, V1ResourceQuota } from '@kubernetes/client-node';
import { ENTRIES, elementsOf, environmentOf, joined, namesOf, when, whenSet } from '../template/expression.ts';
import { AGENT_ACCESS, accessManifests } from './access.ts';
import { AGENT, fieldEnv, imageOf, inNamespace, labelsOf, type Manifest, values } from './manifest.ts';

const { cni, global } = values;
const HOST = '/host';

/** Nodes that have problems, are drained or not ready yet: their pods need capture all the same. */
export const EVERYWHERE = [
  { effect: 'NoSchedule', operator: 'Exists' },
  { key: 'CriticalAddonsOnly', operator: 'Exists' },
  { effect: 'NoExecute', operator: 'Exists' },
];

const CAPABILITIES = [
  'NET_ADMIN', // rules and routes in pods and on the node, cgroup programs
  'NET_RAW', // iptables
  'SYS_PTRACE', // namespaces of processes in /proc
  'SYS_ADMIN', // entering namespaces, loading programs
  'DAC_OVERRIDE', // folders of the node that belong to others
];

const daemonSet: Manifest<V1DaemonSet> = {
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  metadata: { ...inNamespace(AGENT, AGENT), labels: { ...labelsOf(AGENT), 'k8s-app': AGENT } },
  spec: {
    selector: { matchLabels: { 'k8s-app': AGENT } },
    updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: cni.rollingMaxUnavailable } },
    template: {
      metadata: {
        labels: {
          ...{ ...labelsOf(AGENT), 'k8s-app': AGENT, 'istio.io/dataplane-mode': 'none' },
          ...{ 'sidecar.istio.io/inject': 'false', [ENTRIES]: cni.podLabels },
        },
        annotations: {
          ...{ 'prometheus.io/scrape': 'true', 'prometheus.io/port': '15014', 'prometheus.io/path': '/metrics' },
          [ENTRIES]: cni.podAnnotations,
        },
      },
      spec: {
        serviceAccountName: AGENT,
        priorityClassName: 'system-node-critical',
        // Time to release every pod of the node when the mesh is removed.
        terminationGracePeriodSeconds: 60,
        hostNetwork: when(cni.ambient.shareHostNetworkNamespace, true),
        dnsPolicy: when(cni.ambient.shareHostNetworkNamespace, 'ClusterFirstWithHostNet'),
        nodeSelector: { 'kubernetes.io/os': 'linux', [ENTRIES]: cni.nodeSelector },
        affinity: whenSet(cni.affinity),
        imagePullSecrets: when(global.imagePullSecrets, [namesOf(global.imagePullSecrets)]),
        tolerations: [...EVERYWHERE, elementsOf(cni.tolerations)],
        securityContext: { appArmorProfile: { type: 'Unconfined' } },
        containers: [
          {
            name: 'install-cni',
            image: imageOf(cni),
            imagePullPolicy: whenSet(global.imagePullPolicy),
            args: ['cni'],
            ports: [{ containerPort: 15_014, name: 'metrics', protocol: 'TCP' }],
            env: [
              fieldEnv('NODE_NAME', 'spec.nodeName'),
              fieldEnv('POD_NAME', 'metadata.name'),
              fieldEnv('POD_NAMESPACE', 'metadata.namespace'),
              fieldEnv('POD_UID', 'metadata.uid'),
              fieldEnv('SYSTEM_NAMESPACE', 'metadata.namespace'),
              { name: 'HOST_MOUNTS_DIR', value: HOST },
              when({ not: cni.ambient.shareHostNetworkNamespace }, { name: 'ALLOW_SWITCH_TO_HOST_NS', value: 'true' }),
              { name: 'EXCLUDE_NAMESPACES', value: joined(cni.excludeNamespaces) },
              { name: 'CNI_BIN_DIR', value: `${HOST}/opt/cni/bin` },
              { name: 'MOUNTED_CNI_NET_DIR', value: `${HOST}/etc/cni/net.d` },
              when(cni.cniConfFileName, { name: 'CNI_CONF_NAME', value: cni.cniConfFileName }),
              when({ not: cni.chained }, { name: 'CHAINED_CNI_PLUGIN', value: 'false' }),
              when(cni.istioOwnedCNIConfig, { name: 'ISTIO_OWNED_CNI_CONFIG', value: 'true' }),
              when(cni.istioOwnedCNIConfig, {
                name: 'ISTIO_OWNED_CNI_CONFIG_FILENAME',
                value: cni.istioOwnedCNIConfigFileName,
              }),
              when({ not: cni.ambient.dnsCapture }, { name: 'AMBIENT_DNS_CAPTURE', value: 'false' }),
              when({ not: cni.ambient.ipv6 }, { name: 'AMBIENT_IPV6', value: 'false' }),
              { name: 'REDIRECT_BACKEND', value: cni.redirectBackend },
              { name: 'LOG_LEVEL', value: cni.logging.level },
              when(global.logAsJson, { name: 'LOG_FORMAT', value: 'json' }),
              environmentOf(cni.env),
            ],
            resources: cni.resources,
            readinessProbe: { httpGet: { path: '/readyz', port: 8_000 }, initialDelaySeconds: 1, periodSeconds: 2 },
            securityContext: {
              ...{ privileged: false, allowPrivilegeEscalation: true, readOnlyRootFilesystem: true },
              ...{ runAsUser: 0, runAsGroup: 0, runAsNonRoot: false },
              capabilities: { drop: ['ALL'], add: CAPABILITIES },
            },
            volumeMounts: [
              { name: 'cni-bin-dir', mountPath: `${HOST}/opt/cni/bin` },
              { name: 'cni-net-dir', mountPath: `${HOST}/etc/cni/net.d` },
              { name: 'host-procfs', mountPath: `${HOST}/proc`, readOnly: true },
              {
                ...{ name: 'host-cgroup', mountPath: `${HOST}/sys/fs/cgroup`, readOnly: true },
                mountPropagation: 'HostToContainer',
              },
              { name: 'host-bpf', mountPath: '/sys/fs/bpf', mountPropagation: 'HostToContainer' },
              { name: 'cni-netns-dir', mountPath: `${HOST}/var/run/netns`, mountPropagation: 'HostToContainer' },
              { name: 'cni-socket-dir', mountPath: '/var/run/istio-cni' },
              { name: 'cni-ztunnel-sock-dir', mountPath: '/var/run/ztunnel' },
              { name: 'tmp', mountPath: '/tmp' },
            ],
          },
        ],
        volumes: [
          { name: 'cni-bin-dir', hostPath: { path: cni.cniBinDir, type: 'DirectoryOrCreate' } },
          { name: 'cni-net-dir', hostPath: { path: cni.cniConfDir, type: 'DirectoryOrCreate' } },
          { name: 'host-procfs', hostPath: { path: '/proc', type: 'Directory' } },
          { name: 'host-cgroup', hostPath: { path: '/sys/fs/cgroup', type: 'Directory' } },
          { name: 'host-bpf', hostPath: { path: '/sys/fs/bpf', type: 'Directory' } },
          { name: 'cni-netns-dir', hostPath: { path: cni.cniNetnsDir, type: 'DirectoryOrCreate' } },
          { name: 'cni-socket-dir', hostPath: { path: '/var/run/istio-cni', type: 'DirectoryOrCreate' } },
          { name: 'cni-ztunnel-sock-dir', hostPath: { path: '/var/run/ztunnel', type: 'DirectoryOrCreate' } },
          { name: 'tmp', emptyDir: { sizeLimit: '64Mi' } },
        ],
      },
    },
  },
};

const quota: Manifest<V1ResourceQuota> = {
  apiVersion: 'v1',
  kind: 'ResourceQuota',
  metadata: inNamespace('istio-cni-resource-quota', AGENT),
  spec: {
    hard: { pods: cni.resourceQuotas.pods as never },
    scopeSelector: {
      matchExpressions: [{ operator: 'In', scopeName: 'PriorityClass', values: ['system-node-critical'] }],
    },
  },
};

export const AGENT_MANIFESTS = [...accessManifests(AGENT_ACCESS), daemonSet, when(cni.resourceQuotas.enabled, quota)];

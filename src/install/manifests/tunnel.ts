/** The node tunnel: DaemonSet `ztunnel`. It needs no right in the API. Source: Istio chart ztunnel. */
import type { V1DaemonSet } from '@kubernetes/client-node';
import { ENTRIES, elementsOf, environmentOf, NAMESPACE, namesOf, text, when, whenSet } from '../template/expression.ts';
import { accessManifests, TUNNEL_ACCESS } from './access.ts';
import { fieldEnv, imageOf, inNamespace, labelsOf, type Manifest, TUNNEL, values } from './manifest.ts';
import { EVERYWHERE } from './node-agent.ts';

const { ztunnel, global } = values;
/** Of a pod's tokens: longer than an outage of the API server should last. */
const TOKEN_SECONDS = 43_200;

const CAPABILITIES = [
  'NET_ADMIN', // marks and transparent sockets
  'SYS_ADMIN', // sockets in the namespaces of pods
  'NET_RAW', // binding to addresses of others
];

const daemonSet: Manifest<V1DaemonSet> = {
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  metadata: inNamespace(TUNNEL, TUNNEL),
  spec: {
    selector: { matchLabels: { app: TUNNEL } },
    // The next tunnel listens before this one stops.
    updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    template: {
      metadata: {
        labels: {
          ...{ ...labelsOf(TUNNEL), 'istio.io/dataplane-mode': 'none', 'sidecar.istio.io/inject': 'false' },
          [ENTRIES]: ztunnel.podLabels,
        },
        annotations: {
          ...{
            'prometheus.io/scrape': 'true',
            'prometheus.io/port': '15020',
            'prometheus.io/path': '/stats/prometheus',
          },
          [ENTRIES]: ztunnel.podAnnotations,
        },
      },
      spec: {
        serviceAccountName: TUNNEL,
        automountServiceAccountToken: false,
        priorityClassName: 'system-node-critical',
        terminationGracePeriodSeconds: ztunnel.terminationGracePeriodSeconds,
        nodeSelector: { 'kubernetes.io/os': 'linux', [ENTRIES]: ztunnel.nodeSelector },
        affinity: whenSet(ztunnel.affinity),
        imagePullSecrets: when(global.imagePullSecrets, [namesOf(global.imagePullSecrets)]),
        tolerations: [...EVERYWHERE, elementsOf(ztunnel.tolerations)],
        containers: [
          {
            name: 'istio-proxy',
            image: imageOf(ztunnel),
            imagePullPolicy: whenSet(global.imagePullPolicy),
            args: ['ztunnel'],
            ports: [
              { containerPort: 15_020, name: 'ztunnel-stats', protocol: 'TCP' },
              { containerPort: 15_021, name: 'readiness', protocol: 'TCP' },
            ],
            env: [
              { name: 'XDS_ADDRESS', value: text`istiod.${NAMESPACE}.svc:15012` },
              { name: 'CA_ADDRESS', value: text`istiod.${NAMESPACE}.svc:15012` },
              fieldEnv('NODE_NAME', 'spec.nodeName'),
              fieldEnv('POD_NAME', 'metadata.name'),
              fieldEnv('POD_NAMESPACE', 'metadata.namespace'),
              fieldEnv('INSTANCE_IP', 'status.podIP'),
              fieldEnv('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
              { name: 'CLUSTER_ID', value: global.multiCluster.clusterName },
              { name: 'ISTIO_META_CLUSTER_ID', value: global.multiCluster.clusterName },
              { name: 'CLUSTER_DOMAIN', value: global.proxy.clusterDomain },
              when(values.meshConfig.trustDomain, { name: 'TRUST_DOMAIN', value: values.meshConfig.trustDomain }),
              when(global.network, { name: 'NETWORK', value: global.network }),
              when(global.meshID, { name: 'ISTIO_META_MESH_ID', value: global.meshID }),
              { name: 'ISTIO_META_ISTIO_VERSION', value: global.tag },
              when({ not: values.cni.ambient.dnsCapture }, { name: 'ISTIO_META_DNS_CAPTURE', value: 'false' }),
              when({ not: values.cni.ambient.ipv6 }, { name: 'IPV6_ENABLED', value: 'false' }),
              { name: 'TERMINATION_GRACE_PERIOD_SECONDS', value: text`${ztunnel.terminationGracePeriodSeconds}` },
              { name: 'CRL_PATH', value: '/var/run/secrets/istio/crl/ca-crl.pem' },
              { name: 'CULVERT_ENGINE', value: ztunnel.engine },
              { name: 'RUST_LOG', value: ztunnel.logLevel },
              when(global.logAsJson, { name: 'LOG_FORMAT', value: 'json' }),
              environmentOf(ztunnel.env),
            ],
            resources: ztunnel.resources,
            readinessProbe: { httpGet: { path: '/healthz/ready', port: 15_021 }, periodSeconds: 2 },
            securityContext: {
              ...{ privileged: false, allowPrivilegeEscalation: true, readOnlyRootFilesystem: true },
              ...{ runAsUser: 0, runAsGroup: 1_337, runAsNonRoot: false },
              capabilities: { drop: ['ALL'], add: CAPABILITIES },
            },
            volumeMounts: [
              { name: 'istiod-ca-cert', mountPath: '/var/run/secrets/istio', readOnly: true },
              { name: 'istio-ca-crl', mountPath: '/var/run/secrets/istio/crl', readOnly: true },
              { name: 'istio-token', mountPath: '/var/run/secrets/tokens', readOnly: true },
              { name: 'cni-ztunnel-sock-dir', mountPath: '/var/run/ztunnel' },
              { name: 'tmp', mountPath: '/tmp' },
            ],
          },
        ],
        volumes: [
          {
            name: 'istio-token',
            projected: {
              sources: [
                {
                  serviceAccountToken: {
                    ...{ path: 'istio-token', expirationSeconds: TOKEN_SECONDS, audience: 'istio-ca' },
                  },
                },
              ],
            },
          },
          { name: 'istiod-ca-cert', configMap: { name: 'istio-ca-root-cert' } },
          { name: 'istio-ca-crl', configMap: { name: 'istio-ca-crl', optional: true } },
          { name: 'cni-ztunnel-sock-dir', hostPath: { path: '/var/run/ztunnel', type: 'DirectoryOrCreate' } },
          { name: 'tmp', emptyDir: { sizeLimit: '64Mi' } },
        ],
      },
    },
  },
};

export const TUNNEL_MANIFESTS = [...accessManifests(TUNNEL_ACCESS), daemonSet];

/** The control plane: Deployment `istiod`, its Service, and what keeps it running. Source: Istio chart istio-discovery. */
import type {
  V1ConfigMap,
  V1Deployment,
  V1PodDisruptionBudget,
  V1Service,
  V2HorizontalPodAutoscaler,
} from '@kubernetes/client-node';
import {
  ENTRIES,
  elementsOf,
  environmentOf,
  NAMESPACE,
  namesOf,
  text,
  when,
  whenSet,
  yamlText,
} from '../template/expression.ts';
import { accessManifests, CONTROL_PLANE_ACCESS, clusterRole, UNTAINT_RULE } from './access.ts';
import { CONTROL_PLANE, fieldEnv, imageOf, inNamespace, labelsOf, type Manifest, values } from './manifest.ts';

const { pilot, global } = values;
const SELECTOR = { app: CONTROL_PLANE, istio: 'pilot' };
const USER = 1_337;

const deployment: Manifest<V1Deployment> = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { ...inNamespace(CONTROL_PLANE, CONTROL_PLANE), labels: { ...labelsOf(CONTROL_PLANE), istio: 'pilot' } },
  spec: {
    replicas: when({ not: pilot.autoscaleEnabled }, pilot.replicaCount),
    selector: { matchLabels: SELECTOR },
    // The next version is ready before one of this goes.
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '100%', maxUnavailable: 0 } },
    template: {
      metadata: {
        labels: {
          ...{ ...labelsOf(CONTROL_PLANE), istio: 'pilot', 'istio.io/dataplane-mode': 'none' },
          ...{ 'sidecar.istio.io/inject': 'false', [ENTRIES]: pilot.podLabels },
        },
        annotations: {
          ...{ 'prometheus.io/scrape': 'true', 'prometheus.io/port': '15014' },
          [ENTRIES]: pilot.podAnnotations,
        },
      },
      spec: {
        serviceAccountName: CONTROL_PLANE,
        securityContext: { fsGroup: USER, seccompProfile: { type: 'RuntimeDefault' } },
        nodeSelector: { 'kubernetes.io/os': 'linux', [ENTRIES]: pilot.nodeSelector },
        affinity: whenSet(pilot.affinity),
        topologySpreadConstraints: when(pilot.topologySpreadConstraints, pilot.topologySpreadConstraints),
        imagePullSecrets: when(global.imagePullSecrets, [namesOf(global.imagePullSecrets)]),
        tolerations: [{ key: 'cni.istio.io/not-ready', operator: 'Exists' }, elementsOf(pilot.tolerations)],
        containers: [
          {
            name: 'discovery',
            image: imageOf(pilot),
            imagePullPolicy: whenSet(global.imagePullPolicy),
            args: ['controller'],
            ports: [
              { containerPort: 8_080, name: 'http-debug', protocol: 'TCP' },
              { containerPort: 15_010, name: 'grpc-xds', protocol: 'TCP' },
              { containerPort: 15_012, name: 'tls-xds', protocol: 'TCP' },
              { containerPort: 15_014, name: 'http-monitoring', protocol: 'TCP' },
              { containerPort: 15_017, name: 'https-webhooks', protocol: 'TCP' },
            ],
            env: [
              fieldEnv('POD_NAME', 'metadata.name'),
              fieldEnv('POD_NAMESPACE', 'metadata.namespace'),
              fieldEnv('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
              { name: 'CLUSTER_ID', value: global.multiCluster.clusterName },
              { name: 'CLUSTER_DOMAIN', value: global.proxy.clusterDomain },
              when(values.meshConfig.trustDomain, { name: 'TRUST_DOMAIN', value: values.meshConfig.trustDomain }),
              when(values.revision, { name: 'REVISION', value: values.revision }),
              { name: 'CA_TRUSTED_NODE_ACCOUNTS', value: text`${NAMESPACE}/ztunnel` },
              when(pilot.taint.enabled, { name: 'PILOT_ENABLE_NODE_UNTAINT_CONTROLLERS', value: 'true' }),
              { name: 'LOG_FILTER', value: pilot.logLevel },
              when(global.logAsJson, { name: 'LOG_FORMAT', value: 'json' }),
              environmentOf(pilot.env),
            ],
            resources: pilot.resources,
            readinessProbe: {
              httpGet: { path: '/ready', port: 8_080 },
              ...{ initialDelaySeconds: 1, periodSeconds: 3, timeoutSeconds: 5 },
            },
            securityContext: {
              ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
              ...{ runAsNonRoot: true, runAsUser: USER, runAsGroup: USER },
            },
            volumeMounts: [
              { name: 'cacerts', mountPath: '/etc/cacerts', readOnly: true },
              { name: 'mesh', mountPath: '/etc/istio/config', readOnly: true },
              { name: 'tmp', mountPath: '/tmp' },
            ],
          },
        ],
        volumes: [
          { name: 'cacerts', secret: { secretName: 'cacerts', optional: true } },
          { name: 'mesh', configMap: { name: 'istio', optional: true } },
          { name: 'tmp', emptyDir: { medium: 'Memory', sizeLimit: '64Mi' } },
        ],
      },
    },
  },
};

const service: Manifest<V1Service> = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { ...inNamespace(CONTROL_PLANE, CONTROL_PLANE), labels: { ...labelsOf(CONTROL_PLANE), istio: 'pilot' } },
  spec: {
    selector: SELECTOR,
    ports: [
      { name: 'grpc-xds', port: 15_010, protocol: 'TCP' },
      { name: 'https-dns', port: 15_012, protocol: 'TCP' },
      { name: 'https-webhook', port: 443, targetPort: 15_017, protocol: 'TCP' },
      { name: 'http-monitoring', port: 15_014, protocol: 'TCP' },
    ],
  },
};

const disruptionBudget: Manifest<V1PodDisruptionBudget> = {
  apiVersion: 'policy/v1',
  kind: 'PodDisruptionBudget',
  metadata: inNamespace(CONTROL_PLANE, CONTROL_PLANE),
  // Not `minAvailable: 1`: with one pod, no node with it could ever be drained.
  spec: { maxUnavailable: 1, selector: { matchLabels: SELECTOR } },
};

const autoscaler: Manifest<V2HorizontalPodAutoscaler> = {
  apiVersion: 'autoscaling/v2',
  kind: 'HorizontalPodAutoscaler',
  metadata: inNamespace(CONTROL_PLANE, CONTROL_PLANE),
  spec: {
    minReplicas: pilot.autoscaleMin,
    maxReplicas: pilot.autoscaleMax,
    scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: CONTROL_PLANE },
    metrics: [
      {
        type: 'Resource',
        resource: {
          name: 'cpu',
          target: { type: 'Utilization', averageUtilization: pilot.cpu.targetAverageUtilization },
        },
      },
    ],
  },
};

const meshConfig: Manifest<V1ConfigMap> = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: inNamespace('istio', CONTROL_PLANE),
  data: { mesh: yamlText(values.meshConfig), meshNetworks: 'networks: {}' },
};

export const CONTROL_PLANE_MANIFESTS = [
  ...accessManifests(CONTROL_PLANE_ACCESS),
  ...clusterRole('istiod-untaint', CONTROL_PLANE, [UNTAINT_RULE]).map((role) => when(pilot.taint.enabled, role)),
  meshConfig,
  deployment,
  service,
  when(global.defaultPodDisruptionBudget.enabled, disruptionBudget),
  when(pilot.autoscaleEnabled, autoscaler),
];

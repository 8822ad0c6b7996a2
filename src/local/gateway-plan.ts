/**
 * The Deployment and the Service of a waypoint, from its Gateway. Pure: the same Gateway gives the same objects.
 * Source: Istio control plane (names, labels and ports of the objects it makes for Gateways).
 */
import { createHash } from 'node:crypto';
import type { KubeObject } from '../kube/port.ts';
import type { Container, Deployment, Service } from './kinds.ts';

export const GATEWAY_NAME_LABEL = 'gateway.networking.k8s.io/gateway-name';
export const MANAGED_LABEL = 'gateway.istio.io/managed';
const MANAGED_BY = 'istio.io-mesh-controller';
const CLASS_LABEL = 'gateway.networking.k8s.io/gateway-class-name';
/** What the objects were made from; a Deployment of other contents is made anew. */
const SOURCE_ANNOTATION = 'culvert.dev/source-hash';
const WAYPOINT_CLASS = 'istio-waypoint';
const READY_PORT = 15_021;

export interface Gateway extends KubeObject {
  readonly spec: {
    readonly gatewayClassName: string;
    readonly listeners?: readonly { readonly name: string; readonly port: number; readonly protocol: string }[];
    readonly addresses?: readonly unknown[];
  };
}

export interface WaypointObjects {
  readonly deployment: Deployment;
  readonly service: Service;
}

/** Undefined for Gateways that somebody else runs. */
export function waypointObjects(
  gateway: Gateway,
  container: Pick<Container, 'command' | 'env'>,
): WaypointObjects | undefined {
  const { gatewayClassName, addresses = [], listeners = [] } = gateway.spec;
  if (gatewayClassName !== WAYPOINT_CLASS || addresses.length > 0 || gateway.metadata.deletionTimestamp)
    return undefined;
  const { name, namespace = 'default', uid = '' } = gateway.metadata;
  const labels = { [MANAGED_LABEL]: MANAGED_BY, [GATEWAY_NAME_LABEL]: name, [CLASS_LABEL]: gatewayClassName };
  const ownerReferences = [{ apiVersion: gateway.apiVersion, kind: 'Gateway', name, uid, controller: true }];
  const template = podTemplate(name, gateway.metadata.annotations ?? {}, container);
  const source = createHash('sha256').update(JSON.stringify(template)).digest('hex').slice(0, 16);
  const deployment: Deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace, labels, annotations: { [SOURCE_ANNOTATION]: source }, ownerReferences },
    spec: { replicas: 1, template },
  };
  const ports = listeners.map((listener) => ({
    name: listener.name.replaceAll('.', '-'),
    port: listener.port,
    appProtocol: listener.protocol.toLowerCase(),
  }));
  const service: Service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, labels, ownerReferences },
    spec: {
      type: 'ClusterIP',
      selector: { [GATEWAY_NAME_LABEL]: name },
      ports: [{ name: 'status-port', port: READY_PORT }, ...ports],
    },
  };
  return { deployment, service };
}

function podTemplate(
  name: string,
  annotations: Readonly<Record<string, string>>,
  { command = [], env = [] }: Pick<Container, 'command' | 'env'>,
): Deployment['spec']['template'] {
  return {
    metadata: {
      labels: {
        [GATEWAY_NAME_LABEL]: name,
        'istio.io/dataplane-mode': 'none',
        'sidecar.istio.io/inject': 'false',
        'service.istio.io/canonical-name': name,
        'service.istio.io/canonical-revision': 'latest',
      },
    },
    spec: {
      serviceAccountName: annotations['gateway.istio.io/service-account'] ?? name,
      terminationGracePeriodSeconds: 15,
      containers: [
        {
          name: 'istio-proxy',
          command,
          env: [{ name: 'GATEWAY_NAME', value: name }, ...POD_FACTS, ...env],
          ports: [{ name: 'mesh', containerPort: 15_008 }],
          readinessProbe: { httpGet: { path: '/healthz/ready', port: READY_PORT }, periodSeconds: 1 },
        },
      ],
    },
  };
}

const fact = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
const POD_FACTS: NonNullable<Container['env']> = [
  fact('POD_NAME', 'metadata.name'),
  fact('POD_NAMESPACE', 'metadata.namespace'),
  fact('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
  fact('INSTANCE_IP', 'status.podIP'),
  fact('NODE_NAME', 'spec.nodeName'),
];

/** Whether a Deployment is of the same Gateway as it is now. Its replicas and restarts are its owner's. */
export function isUpToDate(present: Deployment | undefined, wanted: Deployment): boolean {
  return present?.metadata.annotations?.[SOURCE_ANNOTATION] === wanted.metadata.annotations?.[SOURCE_ANNOTATION];
}

/** Whether an object was made for a Gateway by this loop. */
export function isManaged({ metadata }: KubeObject): boolean {
  return metadata.labels?.[MANAGED_LABEL] === MANAGED_BY;
}

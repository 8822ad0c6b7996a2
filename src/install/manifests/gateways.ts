/**
 * Classes of the Gateway API that this mesh serves, and the gateways that are asked for at installation. They are there
 * only where the cluster has the Gateway API. Source: Istio control plane, its GatewayClasses.
 */
import type { V1ObjectMeta } from '@kubernetes/client-node';
import { NAMESPACE, type Ref, refs, when } from '../template/expression.ts';
import type { IngressGatewayValues } from '../values.ts';
import { type AnyManifest, type Manifest, PART_OF, values } from './manifest.ts';

const GROUP = 'gateway.networking.k8s.io/v1';

interface GatewayClass {
  readonly metadata: V1ObjectMeta;
  readonly spec: { readonly controllerName: string; readonly description: string };
}

interface Gateway {
  readonly metadata: V1ObjectMeta;
  readonly spec: {
    readonly gatewayClassName: string;
    readonly infrastructure: {
      readonly labels: Readonly<Record<string, string>>;
      readonly annotations: Readonly<Record<string, string>>;
    };
    readonly listeners: readonly {
      readonly name: string;
      readonly port: number;
      readonly protocol: string;
      readonly allowedRoutes: { readonly namespaces: { readonly from: string } };
    }[];
  };
}

function gatewayClass(name: string, controllerName: string, description: string): Manifest<GatewayClass> {
  const metadata = { name, labels: PART_OF };
  return { apiVersion: GROUP, kind: 'GatewayClass', metadata, spec: { controllerName, description } };
}

const CLASSES = [
  gatewayClass('istio', 'istio.io/gateway-controller', 'The default Istio GatewayClass'),
  gatewayClass('istio-waypoint', 'istio.io/mesh-controller', 'The default Istio waypoint GatewayClass'),
  gatewayClass(
    'istio-remote',
    'istio.io/unmanaged-gateway',
    'Remote to this cluster. Does not deploy or affect configuration.',
  ),
];

/** One manifest for each element of a list value. */
export class ForEach {
  readonly source: Ref<readonly unknown[]>;
  readonly manifest: AnyManifest;

  constructor(source: Ref<readonly unknown[]>, manifest: AnyManifest) {
    this.source = source;
    this.manifest = manifest;
  }
}

const gateway = refs<IngressGatewayValues>('item');
const ingress: Manifest<Gateway> = {
  apiVersion: GROUP,
  kind: 'Gateway',
  metadata: { name: gateway.name, namespace: NAMESPACE, labels: PART_OF },
  spec: {
    gatewayClassName: 'istio',
    infrastructure: {
      // What Istio's own Gateway objects select.
      labels: { app: gateway.name, istio: 'ingressgateway' },
      annotations: { 'networking.istio.io/service-type': gateway.serviceType },
    },
    listeners: [{ name: 'http', port: 80, protocol: 'HTTP', allowedRoutes: { namespaces: { from: 'All' } } }],
  },
};

export const GATEWAY_MANIFESTS = [
  ...CLASSES.map((one) => when({ served: GROUP }, one)),
  when({ served: GROUP }, new ForEach(values.ingressGateways, ingress)),
];

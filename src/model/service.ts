/** A service as the data plane sees it. Source: istio/api workload.proto, message Service. */
import type { IpRange } from './address.ts';
import type { GatewayAddress } from './workload.ts';

export type Scope = 'REGION' | 'ZONE' | 'SUBZONE' | 'NODE' | 'CLUSTER' | 'NETWORK';
export type AppProtocol = 'UNKNOWN' | 'HTTP11' | 'HTTP2' | 'GRPC' | 'TCP' | 'TLS';

export interface LoadBalancing {
  readonly mode: 'UNSPECIFIED' | 'STRICT' | 'FAILOVER' | 'PASSTHROUGH';
  readonly routingPreference: readonly Scope[];
  readonly healthPolicy: 'ONLY_HEALTHY' | 'ALLOW_ALL';
}

export interface ServicePort {
  readonly servicePort: number;
  /** 0: look at the endpoint (named port). */
  readonly targetPort: number;
  readonly appProtocol: AppProtocol;
}

/** A virtual IP, or a block of them when `range` is shorter than the whole address. */
export interface ServiceAddress {
  readonly network: string;
  readonly range: IpRange;
}

export interface WeightedWaypoint {
  readonly destination: GatewayAddress;
  readonly weight: number;
}

export interface Service {
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
  /** Empty for headless services. */
  readonly addresses: readonly ServiceAddress[];
  readonly ports: readonly ServicePort[];
  /** SPIFFE ids accepted from its endpoints beside their own. */
  readonly subjectAltNames: readonly string[];
  readonly waypoint: GatewayAddress | undefined;
  readonly weightedWaypoints: readonly WeightedWaypoint[];
  readonly loadBalancing: LoadBalancing;
  readonly ipFamilies: 'AUTOMATIC' | 'IPV4_ONLY' | 'IPV6_ONLY' | 'DUAL';
  readonly canonical: boolean;
  readonly ingressUseWaypoint: boolean;
  readonly visibility: 'PUBLIC' | 'NAMESPACE';
}

/** Primary key of a service: `namespace/hostname`. */
export function serviceKey(service: Pick<Service, 'namespace' | 'hostname'>): string {
  return `${service.namespace}/${service.hostname}`;
}

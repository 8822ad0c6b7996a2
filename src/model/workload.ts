/** A workload as the data plane sees it. Source: istio/api workload.proto, message Workload. */
import type { NamespacedHostname, NetworkAddress } from './address.ts';

export type TunnelProtocol = 'NONE' | 'HBONE';
export type WorkloadStatus = 'HEALTHY' | 'UNHEALTHY';
export type WorkloadType = 'DEPLOYMENT' | 'CRONJOB' | 'POD' | 'JOB';
export type NetworkMode = 'STANDARD' | 'HOST_NETWORK';

/** Where a waypoint or network gateway is found. */
export interface GatewayAddress {
  readonly destination:
    | ({ readonly kind: 'hostname' } & NamespacedHostname)
    | ({ readonly kind: 'address' } & NetworkAddress);
  readonly hboneMtlsPort: number;
}

export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

/** How the workload wants its traffic handed over ("sandwich"). `port` 0 means: not overridden. */
export interface ApplicationTunnel {
  readonly protocol: 'NONE' | 'PROXY';
  readonly port: number;
}

/** Service port to target port; a target of 0 means that the endpoint decides (named port). */
export type PortMap = ReadonlyMap<number, number>;

export interface Workload {
  /** Primary key, `<cluster>//Pod/<namespace>/<name>` for pods. Not the Kubernetes pod UID. */
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  /** Canonical IP text; may be empty when `hostname` is set. */
  readonly addresses: readonly string[];
  readonly hostname: string;
  readonly network: string;
  readonly tunnelProtocol: TunnelProtocol;
  readonly trustDomain: string;
  readonly serviceAccount: string;
  readonly waypoint: GatewayAddress | undefined;
  readonly networkGateway: GatewayAddress | undefined;
  readonly node: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly workloadType: WorkloadType;
  readonly workloadName: string;
  /** The workload terminates HBONE itself. */
  readonly nativeTunnel: boolean;
  readonly applicationTunnel: ApplicationTunnel | undefined;
  /** Services this workload is an endpoint of, by `namespace/hostname`, each with the endpoint's own ports. */
  readonly services: ReadonlyMap<string, PortMap>;
  /** Names (`namespace/name`) of the selector policies that apply. */
  readonly authorizationPolicies: readonly string[];
  readonly status: WorkloadStatus;
  readonly clusterId: string;
  readonly locality: Locality;
  readonly networkMode: NetworkMode;
  /** Load balancing weight; 0 takes no traffic. */
  readonly capacity: number;
}

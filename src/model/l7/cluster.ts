/** Destinations of a waypoint: services with their traffic policy, and apart from them their endpoints, which change often. */

import type { AppProtocol, LoadBalancing } from '../service.ts';
import type { Locality } from '../workload.ts';
import type { TrafficPolicy } from './traffic-policy.ts';

export interface Cluster {
  readonly namespace: string;
  readonly hostname: string;
  /** Name of the object behind it, for metrics. */
  readonly name: string;
  /**
   * `STATIC`: the endpoints that are listed. `DNS`: those that are listed by name are resolved. `DYNAMIC_DNS`: the host
   * that the request names is resolved (wildcard hosts). `NONE`: the address that the client asked for.
   */
  readonly resolution: 'STATIC' | 'DNS' | 'DYNAMIC_DNS' | 'NONE';
  readonly location: 'MESH_INTERNAL' | 'MESH_EXTERNAL';
  /** By trafficDistribution and the like; a locality policy of the port goes before it. */
  readonly loadBalancing: LoadBalancing;
  /** SPIFFE ids accepted from its endpoints beside their own. */
  readonly subjectAltNames: readonly string[];
  readonly ports: readonly ClusterPort[];
}

export interface ClusterPort {
  readonly port: number;
  readonly protocol: AppProtocol;
  readonly policy: TrafficPolicy;
  readonly subsets: readonly Subset[];
}

export interface Subset {
  readonly name: string;
  /** Endpoints that have all of these labels. */
  readonly labels: Readonly<Record<string, string>>;
  readonly policy: TrafficPolicy;
}

export interface ClusterEndpoints {
  readonly namespace: string;
  readonly hostname: string;
  readonly endpoints: readonly WaypointEndpoint[];
}

export interface WaypointEndpoint {
  /** Uid of the workload. */
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly workloadName: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  /** Canonical IP text; empty when only `hostname` is known. */
  readonly addresses: readonly string[];
  readonly hostname: string;
  readonly network: string;
  readonly clusterId: string;
  readonly node: string;
  readonly locality: Locality;
  /** Reached by HBONE at 15008; else by plain TCP. */
  readonly hbone: boolean;
  /** SPIFFE id. */
  readonly identity: string;
  readonly ports: readonly { readonly servicePort: number; readonly targetPort: number }[];
  readonly labels: Readonly<Record<string, string>>;
  readonly healthy: boolean;
  readonly weight: number;
  /** Keys of the policies that select this workload and are enforced here, for the requests that go to it. */
  readonly policies: readonly string[];
}

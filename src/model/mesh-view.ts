/** What deciders may ask about the mesh: a readonly lookup, without the power to change or to issue anything. */
import type { Service } from './service.ts';
import type { PortMap, Workload, WorkloadStatus } from './workload.ts';

/** A workload as a member of one service. `ports` are the endpoint's own: service port to target port. */
export interface Endpoint {
  readonly workloadUid: string;
  readonly ports: PortMap;
  readonly status: WorkloadStatus;
}

export interface MeshView {
  findWorkload(uid: string): Workload | undefined;
  /** The workload that owns an address; HOST_NETWORK workloads are never found this way. */
  findWorkloadByAddress(network: string, ip: string): Workload | undefined;
  findWorkloadByHostname(namespace: string, hostname: string): Workload | undefined;
  /** By primary key, `namespace/hostname`. */
  findService(key: string): Service | undefined;
  servicesByHostname(hostname: string): readonly Service[];
  /** Services that have exactly this VIP. */
  servicesByVip(network: string, ip: string): readonly Service[];
  /** Services with a block of VIPs around `ip`, each with the length of its longest block. */
  servicesByVipRange(network: string, ip: string): readonly VipRangeMatch[];
  /** Endpoints that may take traffic; empty for unknown services. */
  endpoints(serviceKey: string): Iterable<Endpoint>;
  findEndpoint(serviceKey: string, workloadUid: string): Endpoint | undefined;
}

export interface VipRangeMatch {
  readonly service: Service;
  readonly prefixLength: number;
}

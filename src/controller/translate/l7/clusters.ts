/** Services as destinations of a waypoint: the cluster, and its endpoints. */
import { identityUri } from '../../../model/identity.ts';
import {
  type BoundService,
  type Cluster,
  type ClusterEndpoints,
  DEFAULT_TRAFFIC_POLICY,
  toBoundService,
  type WaypointEndpoint,
} from '../../../model/l7/index.ts';
import type { Workload } from '../../../model/workload.ts';
import type { Labels } from '../selector.ts';
import type { ServiceInfo } from '../service-info.ts';

/** What the endpoints of a cluster are, beside what every tunnel knows of them. */
export interface EndpointFacts {
  readonly labels: Labels;
  /** Policies that select the workload and are enforced at its waypoint. */
  readonly policies: readonly string[];
}

const INTERNAL = 'MESH_INTERNAL';

export function toCluster({ service, origin, resolution, location }: ServiceInfo): Cluster {
  return {
    namespace: service.namespace,
    hostname: service.hostname,
    name: service.name,
    resolution: resolution ?? 'STATIC',
    location: origin === 'Service' ? INTERNAL : (location ?? 'MESH_EXTERNAL'),
    loadBalancing: service.loadBalancing,
    subjectAltNames: service.subjectAltNames,
    ports: service.ports.map(({ servicePort, appProtocol }) => ({
      port: servicePort,
      protocol: appProtocol,
      policy: DEFAULT_TRAFFIC_POLICY,
      subsets: [],
    })),
  };
}

export function toEndpoints(
  { service, ports }: ServiceInfo,
  workloads: readonly Workload[],
  factsOf: (uid: string) => EndpointFacts,
): ClusterEndpoints {
  const key = `${service.namespace}/${service.hostname}`;
  return {
    namespace: service.namespace,
    hostname: service.hostname,
    endpoints: workloads.map((workload): WaypointEndpoint => {
      const own = workload.services.get(key);
      const { labels, policies } = factsOf(workload.uid);
      return {
        uid: workload.uid,
        name: workload.name,
        namespace: workload.namespace,
        workloadName: workload.workloadName,
        canonicalName: workload.canonicalName,
        canonicalRevision: workload.canonicalRevision,
        addresses: workload.addresses,
        hostname: workload.hostname,
        network: workload.network,
        clusterId: workload.clusterId,
        node: workload.node,
        locality: workload.locality,
        hbone: workload.tunnelProtocol === 'HBONE',
        identity: identityUri(workload),
        ports: ports.flatMap(({ port }) => {
          const targetPort = own?.get(port) ?? 0;
          return targetPort === 0 ? [] : [{ servicePort: port, targetPort }];
        }),
        labels,
        healthy: workload.status === 'HEALTHY' || service.loadBalancing.healthPolicy === 'ALLOW_ALL',
        weight: workload.capacity,
        policies,
      };
    }),
  };
}

/** A service as the waypoint is asked for it, without routes and policies. */
export function toBound({ service }: ServiceInfo): BoundService {
  return toBoundService({
    namespace: service.namespace,
    name: service.name,
    hostname: service.hostname,
    addresses: service.addresses,
    ports: service.ports.map(({ servicePort, appProtocol }) => ({
      port: servicePort,
      protocol: appProtocol,
      virtualHosts: [],
      l4Routes: [],
    })),
  });
}

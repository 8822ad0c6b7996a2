/** Names of the resource types that node tunnels subscribe to. */
export const ADDRESS_TYPE = 'type.googleapis.com/istio.workload.Address';
export const AUTHORIZATION_TYPE = 'type.googleapis.com/istio.security.Authorization';
/** The same workloads without services, for other clients. */
export const WORKLOAD_TYPE = 'type.googleapis.com/istio.workload.Workload';
/** Types of waypoints and gateways start with this. */
export const WAYPOINT_PACKAGE = 'type.googleapis.com/culvert.waypoint.v1.';

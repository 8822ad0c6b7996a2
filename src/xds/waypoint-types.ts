/**
 * Resource types of waypoints and gateways. Each is one value of `src/model/l7`.
 *
 * A resource belongs to one gateway: its name starts with `<gateway namespace>/<gateway>/`, and only replicas of that
 * gateway are sent it, as the answer to a subscription to everything.
 */
import { WAYPOINT_PACKAGE } from './type-url.ts';

const typeUrl = <const T extends string>(name: T) => `${WAYPOINT_PACKAGE}${name}` as const;

export const GATEWAY_CONFIG_TYPE = typeUrl('GatewayConfig');
export const BOUND_SERVICE_TYPE = typeUrl('BoundService');
export const BOUND_WORKLOAD_TYPE = typeUrl('BoundWorkload');
export const CLUSTER_TYPE = typeUrl('Cluster');
export const CLUSTER_ENDPOINTS_TYPE = typeUrl('ClusterEndpoints');
export const HTTP_AUTHORIZATION_TYPE = typeUrl('HttpAuthorization');
export const HTTP_AUTHENTICATION_TYPE = typeUrl('HttpAuthentication');
export const RATE_LIMIT_TYPE = typeUrl('RateLimitPolicy');

/** In the order they are sent: what is referred to comes before what refers to it. */
export const WAYPOINT_TYPES = [
  HTTP_AUTHORIZATION_TYPE,
  HTTP_AUTHENTICATION_TYPE,
  RATE_LIMIT_TYPE,
  CLUSTER_ENDPOINTS_TYPE,
  CLUSTER_TYPE,
  BOUND_WORKLOAD_TYPE,
  BOUND_SERVICE_TYPE,
  GATEWAY_CONFIG_TYPE,
] as const;

export type WaypointType = (typeof WAYPOINT_TYPES)[number];

/** Whether resources of this type are for the replicas of one gateway only. */
export function isWaypointType(type: string): type is WaypointType {
  return type.startsWith(WAYPOINT_PACKAGE);
}

/** Start of the names of a gateway's resources. */
export function gatewayScope(gateway: string): string {
  return `${gateway}/`;
}

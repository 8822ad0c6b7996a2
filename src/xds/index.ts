/** Delta discovery: the client of a node tunnel, the server of the control plane, and the codec of their resources. */
export { type Address, decodeAddress, encodeService, encodeWorkload } from './address-codec.ts';
export { decodeAuthorization, encodeAuthorization } from './authorization-codec.ts';
export type { TypeStatus } from './delta-session.ts';
export { DiscoveryClient, type DiscoveryClientOptions } from './discovery-client.ts';
export {
  addDiscoveryService,
  type DiscoveryService,
  type DiscoveryServiceDeps,
  type SubscriberStatus,
} from './discovery-service.ts';
export type { NodeInfo } from './message-codec.ts';
export { type TunnelNode, tunnelNodeId, waypointNodeId } from './node-check.ts';
export type { TerminationReason } from './reconnect-delay.ts';
export { authorizationResource, serviceResource, waypointResource, workloadResource } from './resource-input.ts';
export { type Commit, type ResourceInput, ResourceStore } from './resource-store.ts';
export {
  type ApplyChange,
  addressSubscription,
  authorizationSubscription,
  type Rejection,
  type ResourceChange,
  type Subscription,
  waypointSubscription,
} from './subscription.ts';
export { ADDRESS_TYPE, AUTHORIZATION_TYPE, WORKLOAD_TYPE } from './type-url.ts';
export { decodeWaypointResource, encodeWaypointResource, type WaypointResources } from './waypoint-codec.ts';
export {
  BOUND_SERVICE_TYPE,
  BOUND_WORKLOAD_TYPE,
  CLUSTER_ENDPOINTS_TYPE,
  CLUSTER_TYPE,
  GATEWAY_CONFIG_TYPE,
  gatewayScope,
  HTTP_AUTHENTICATION_TYPE,
  HTTP_AUTHORIZATION_TYPE,
  isWaypointType,
  RATE_LIMIT_TYPE,
  WAYPOINT_TYPES,
  type WaypointType,
} from './waypoint-types.ts';

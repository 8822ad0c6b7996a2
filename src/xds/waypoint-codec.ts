/**
 * The configuration of waypoints between `src/model/l7` and bytes. The model's values are the JSON form of the messages,
 * so that a field is written down in two places only: the model and `proto/waypoint.proto`.
 *
 * Encoding refuses a value with a field that the message lacks; decoding gives every list, map and plain field a value.
 */
import { type DescMessage, fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import { errorMessage, MeshError } from '../core/errors.ts';
import {
  BoundServiceSchema,
  BoundWorkloadSchema,
  ClusterEndpointsSchema,
  ClusterSchema,
  GatewayConfigSchema,
  HttpAuthenticationSchema,
  HttpAuthorizationSchema,
  RateLimitPolicySchema,
} from '../gen/waypoint_pb.js';
import type {
  BoundService,
  BoundWorkload,
  Cluster,
  ClusterEndpoints,
  GatewayConfig,
  HttpAuthentication,
  HttpAuthorization,
  RateLimitPolicy,
} from '../model/l7/index.ts';
import { decoding } from './resource-codec.ts';
import {
  BOUND_SERVICE_TYPE,
  BOUND_WORKLOAD_TYPE,
  CLUSTER_ENDPOINTS_TYPE,
  CLUSTER_TYPE,
  GATEWAY_CONFIG_TYPE,
  HTTP_AUTHENTICATION_TYPE,
  HTTP_AUTHORIZATION_TYPE,
  RATE_LIMIT_TYPE,
  type WaypointType,
} from './waypoint-types.ts';

/** The value that a resource of each type carries. */
export interface WaypointResources {
  readonly [GATEWAY_CONFIG_TYPE]: GatewayConfig;
  readonly [BOUND_SERVICE_TYPE]: BoundService;
  readonly [BOUND_WORKLOAD_TYPE]: BoundWorkload;
  readonly [CLUSTER_TYPE]: Cluster;
  readonly [CLUSTER_ENDPOINTS_TYPE]: ClusterEndpoints;
  readonly [HTTP_AUTHORIZATION_TYPE]: HttpAuthorization;
  readonly [HTTP_AUTHENTICATION_TYPE]: HttpAuthentication;
  readonly [RATE_LIMIT_TYPE]: RateLimitPolicy;
}

const SCHEMAS: Readonly<Record<WaypointType, DescMessage>> = {
  [GATEWAY_CONFIG_TYPE]: GatewayConfigSchema,
  [BOUND_SERVICE_TYPE]: BoundServiceSchema,
  [BOUND_WORKLOAD_TYPE]: BoundWorkloadSchema,
  [CLUSTER_TYPE]: ClusterSchema,
  [CLUSTER_ENDPOINTS_TYPE]: ClusterEndpointsSchema,
  [HTTP_AUTHORIZATION_TYPE]: HttpAuthorizationSchema,
  [HTTP_AUTHENTICATION_TYPE]: HttpAuthenticationSchema,
  [RATE_LIMIT_TYPE]: RateLimitPolicySchema,
};

/** Throws ERR_MALFORMED when a value does not fit its message: a number that is out of range, an unknown field. */
export function encodeWaypointResource<T extends WaypointType>(type: T, value: WaypointResources[T]): Uint8Array {
  const schema = SCHEMAS[type];
  try {
    return toBinary(schema, fromJson(schema, value as unknown as JsonValue)); // plain data by the model's types
  } catch (cause) {
    throw new MeshError('ERR_MALFORMED', errorMessage(cause), { cause });
  }
}

/** Throws ERR_MALFORMED. */
export function decodeWaypointResource<T extends WaypointType>(type: T, bytes: Uint8Array): WaypointResources[T] {
  const schema = SCHEMAS[type];
  return decoding(() => {
    const json = toJson(schema, fromBinary(schema, bytes), { alwaysEmitImplicit: true });
    return json as unknown as WaypointResources[T]; // the message's fields are the model's: tests hold the two together
  });
}

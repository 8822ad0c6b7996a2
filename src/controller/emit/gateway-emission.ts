/** What gateways are told, as resources by type and name. */
import type { NamespacedHostname, NamespacedName } from '../../model/address.ts';
import {
  BOUND_SERVICE_TYPE,
  BOUND_WORKLOAD_TYPE,
  CLUSTER_ENDPOINTS_TYPE,
  CLUSTER_TYPE,
  GATEWAY_CONFIG_TYPE,
  gatewayScope,
  HTTP_AUTHENTICATION_TYPE,
  HTTP_AUTHORIZATION_TYPE,
  RATE_LIMIT_TYPE,
  type ResourceInput,
  WAYPOINT_TYPES,
  type WaypointResources,
  type WaypointType,
  waypointResource,
} from '../../xds/index.ts';
import type { GatewayResources } from '../gateway-ir.ts';

/** A value, and its encoding if the value is another one than before. */
export type Emission = readonly [value: object, encode: () => ResourceInput];

const CONFIG_NAME = 'gateway';

/** Name of a bound service's resource. */
export function boundServiceName(gateway: string, service: NamespacedHostname): string {
  return `${gatewayScope(gateway)}${service.namespace}/${service.hostname}`;
}

/** Every type is there, so that what is gone is removed. */
export function gatewayEmissions(
  gateways: readonly GatewayResources[],
): ReadonlyMap<WaypointType, ReadonlyMap<string, Emission>> {
  const staged = new Map<WaypointType, Map<string, Emission>>(WAYPOINT_TYPES.map((type) => [type, new Map()]));
  for (const resources of gateways) {
    const { gateway } = resources;
    const put = <T extends WaypointType>(type: T, key: string, value: WaypointResources[T]): void => {
      const encode = (): ResourceInput => waypointResource(type, { gateway, key }, value);
      staged.get(type)?.set(`${gatewayScope(gateway)}${key}`, [value, encode]);
    };
    put(GATEWAY_CONFIG_TYPE, CONFIG_NAME, resources.config);
    for (const one of resources.services) put(BOUND_SERVICE_TYPE, byHostname(one), one);
    for (const one of resources.workloads) put(BOUND_WORKLOAD_TYPE, one.uid, one);
    for (const one of resources.clusters) put(CLUSTER_TYPE, byHostname(one), one);
    for (const one of resources.endpoints) put(CLUSTER_ENDPOINTS_TYPE, byHostname(one), one);
    for (const one of resources.authorizations) put(HTTP_AUTHORIZATION_TYPE, byName(one), one);
    for (const one of resources.authentications) put(HTTP_AUTHENTICATION_TYPE, byName(one), one);
    for (const one of resources.rateLimits) put(RATE_LIMIT_TYPE, byName(one), one);
  }
  return staged;
}

function byHostname({ namespace, hostname }: NamespacedHostname): string {
  return `${namespace}/${hostname}`;
}

function byName({ namespace, name }: NamespacedName): string {
  return `${namespace}/${name}`;
}

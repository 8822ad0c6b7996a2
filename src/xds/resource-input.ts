/** Model values as resources of a discovery server: name, bytes and the keys they are found by. */
import { type Authorization, authorizationKey } from '../model/authorization.ts';
import { type Service, type ServiceAddress, serviceKey } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';
import { encodeService, encodeWorkload } from './address-codec.ts';
import { encodeAuthorization } from './authorization-codec.ts';
import type { ResourceInput } from './resource-store.ts';
import { encodeWaypointResource, type WaypointResources } from './waypoint-codec.ts';
import { gatewayScope, type WaypointType } from './waypoint-types.ts';

/** Of type `Address`. Throws ERR_MALFORMED when an address of the workload is not one. */
export function workloadResource(workload: Workload): ResourceInput {
  const isShared = workload.networkMode === 'HOST_NETWORK'; // its address belongs to the node
  return {
    name: workload.uid,
    bytes: encodeWorkload(workload),
    aliases: isShared ? [] : workload.addresses.map((ip) => `${workload.network}/${ip}`),
    memberOf: [...workload.services.keys()],
    node: workload.node,
  };
}

/** Of type `Address`. Throws ERR_MALFORMED when an address of the service is not one. */
export function serviceResource(service: Service): ResourceInput {
  return { name: serviceKey(service), bytes: encodeService(service), aliases: service.addresses.map(addressAlias) };
}

/** Of type `Authorization`. Throws ERR_MALFORMED when an address in the policy is not one. */
export function authorizationResource(policy: Authorization): ResourceInput {
  return { name: authorizationKey(policy), bytes: encodeAuthorization(policy) };
}

/**
 * For the replicas of `gateway` (`namespace/name`); `key` is the value's own name. Throws ERR_MALFORMED when the value
 * does not fit its message.
 */
export function waypointResource<T extends WaypointType>(
  type: T,
  { gateway, key }: { readonly gateway: string; readonly key: string },
  value: WaypointResources[T],
): ResourceInput {
  return { name: `${gatewayScope(gateway)}${key}`, bytes: encodeWaypointResource(type, value) };
}

function addressAlias({ network, range: { ip, prefixLength } }: ServiceAddress): string {
  const isBlock = prefixLength < (ip.includes(':') ? 128 : 32);
  return isBlock ? `${network}/${ip}/${prefixLength}` : `${network}/${ip}`;
}

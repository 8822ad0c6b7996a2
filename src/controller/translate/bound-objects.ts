/** Objects that ask for a waypoint, with all host names that belong to one. */
import type { BoundObject } from '../gateway-ir.ts';
import { groupBy } from './group-by.ts';
import type { ServiceInfo } from './service-info.ts';

export function boundObjects(infos: readonly ServiceInfo[]): readonly BoundObject[] {
  const asking = groupBy(
    infos.filter(({ wanted }) => wanted.length > 0),
    ({ origin, service }) => `${origin} ${service.namespace}/${service.name}`,
  );
  return [...asking].flatMap(([key, [first, ...rest]]) => {
    if (!first) return [];
    const { service, wanted } = first;
    const hostnames = [first, ...rest].map((info) => info.service.hostname);
    return [{ key, namespace: service.namespace, name: service.name, hostnames, wanted }];
  });
}

/** All services of the mesh: of Kubernetes and of ServiceEntries, each host name with one owner. */
import type { KubeObject } from '../../kube/index.ts';
import type { StatusPatch } from '../ir.ts';
import { byAge, nameOf, type Resources } from '../resources.ts';
import { allocateAddresses } from './auto-addresses.ts';
import { ownHostnames } from './hostname-owner.ts';
import type { Memo } from './memo.ts';
import { translateService } from './service.ts';
import { translateEntryServices } from './service-entry.ts';
import type { ServiceInfo } from './service-info.ts';

export interface Services {
  readonly infos: readonly ServiceInfo[];
  readonly canonical: ReadonlySet<ServiceInfo>;
  /** Kubernetes Services by `namespace/name`. */
  readonly byName: ReadonlyMap<string, ServiceInfo>;
  readonly statuses: readonly StatusPatch[];
}

type Around = Parameters<typeof translateService>[1] & Parameters<typeof translateEntryServices>[1];

/** `aroundOf`: what an object's binding to waypoints depends on. */
export function translateServices(
  memo: Memo,
  { services, serviceEntries }: Pick<Resources, 'services' | 'serviceEntries'>,
  aroundOf: (kind: string, object: KubeObject) => Around,
): Services {
  const own = services.flatMap((object) => {
    const around = aroundOf('Service', object);
    const { network, namespace, waypoints, served, attached } = around;
    const needs = [object, network, namespace, waypoints, served, attached];
    const info = memo.get(`service ${nameOf(object)}`, needs, () => translateService(object, around));
    return info ? [info] : [];
  });
  const ordered = [...serviceEntries].sort(byAge);
  const allocated = memo.get('auto addresses', [ordered], () => allocateAddresses(ordered));
  const entries = ordered.map((entry) => {
    const around = aroundOf('ServiceEntry', entry);
    const { network, namespace, waypoints, served, attached } = around;
    const addresses = allocated.get(nameOf(entry)) ?? [];
    const needs = [entry, network, namespace, waypoints, served, attached, addresses];
    return memo.get(`entry ${nameOf(entry)}`, needs, () => translateEntryServices(entry, around, addresses));
  });
  const told = own.flatMap(({ status }) => (status ? [status] : []));
  return {
    ...ownHostnames(
      own,
      entries.flatMap(({ infos }) => infos),
    ),
    byName: new Map(own.map((info) => [`${info.service.namespace}/${info.service.name}`, info])),
    statuses: [...told, ...entries.map(({ status }) => status)],
  };
}

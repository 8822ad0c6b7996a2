/**
 * VirtualService to routes of the services that its hosts name.
 *
 * Who is concerned: an object in its service's namespace, or in the namespace of the service's waypoint, holds for all
 * clients that `exportTo` lets see it; one of another namespace for clients of its own namespace alone.
 * Source: Istio VirtualService; for visibility Istio's sidecars.
 */
import type { ConditionValue, StatusPatch } from '../../../ir.ts';
import { nameOf, namespaceOf, type VirtualService } from '../../../resources.ts';
import type { ServiceInfo } from '../../service-info.ts';
import type { AttachedRoute } from '../attached-routes.ts';
import type { TranslatedRoute } from '../route-parents.ts';
import type { ServedGateways } from '../served-gateways.ts';
import { isDelegate, withDelegates } from './delegates.ts';
import { type DestinationContext, fullHostname, type HostCatalog } from './destination.ts';
import { translateVirtualRoute } from './virtual-http.ts';
import { translateL4, translateTls } from './virtual-l4.ts';

export interface VirtualSurroundings {
  readonly gateways: ServedGateways;
  readonly catalog: HostCatalog;
  readonly infos: readonly ServiceInfo[];
  readonly findVirtualService: (key: string) => VirtualService | undefined;
}

const MESH = 'mesh';

export function translateVirtualService(object: VirtualService, around: VirtualSurroundings): TranslatedRoute {
  const problems = new Set<string>();
  const report = (problem: string): void => void problems.add(problem);
  if (isDelegate(object)) {
    return { routes: [], status: toStatus(object, 'Accepted', 'a delegate: it takes effect where it is delegated to') };
  }
  const gateways = object.spec.gateways ?? [];
  if (gateways.length > 0 && !gateways.includes(MESH)) {
    return {
      routes: [],
      status: toStatus(object, 'GatewaysNotServed', `gateways ${gateways.join(', ')} are not served`),
    };
  }
  const http = withDelegates(object, {
    find: around.findVirtualService,
    clusterDomain: around.catalog.clusterDomain,
    report,
  });
  const services = around.infos.filter((info) => isMeant(object, info.service.hostname, around));
  const bound = services.filter(({ wanted }) => wanted.some((key) => around.gateways.has(key)));
  const routes = bound.flatMap((info) =>
    info.ports.flatMap(({ port }) => {
      const context: DestinationContext = { namespace: namespaceOf(object), port, catalog: around.catalog, report };
      const { tls = [], tcp = [] } = object.spec;
      const nameAt = (name: string | undefined, index: number) => `${nameOf(object)}.${name ?? index}`;
      const translated = {
        http: http.flatMap((route, index) => translateVirtualRoute(route, nameAt(route.name, index), context)),
        l4: [
          ...tls.flatMap((route, index) => translateTls(route, nameAt(undefined, index), context)),
          ...tcp.flatMap((route, index) => translateL4(route, nameAt(undefined, index), context)),
        ],
      };
      return clientsOf(object, info).map(
        (clientNamespace): AttachedRoute => ({
          parent: { kind: 'SERVICE', key: info.key },
          port,
          clientNamespace,
          listeners: [],
          hosts: [],
          name: nameOf(object),
          createdAt: object.metadata.creationTimestamp ?? '',
          order: 'WRITTEN',
          ...translated,
        }),
      );
    }),
  );
  return { routes, status: statusOf(object, { services, bound, problems }) };
}

/** Namespaces whose clients are concerned; undefined for everybody. */
function clientsOf(object: VirtualService, { service, wanted }: ServiceInfo): readonly (string | undefined)[] {
  const own = namespaceOf(object);
  const exported = (object.spec.exportTo ?? []).map((namespace) => (namespace === '.' ? own : namespace));
  const visible = exported.length === 0 || exported.includes('*') ? undefined : new Set(exported);
  const isProducer = own === service.namespace || wanted.some((key) => key.startsWith(`${own}/`));
  if (!isProducer) return visible === undefined || visible.has(own) ? [own] : [];
  return visible === undefined ? [undefined] : [...visible];
}

function isMeant(object: VirtualService, hostname: string, { catalog }: VirtualSurroundings): boolean {
  return (object.spec.hosts ?? []).some((host) => {
    const full = fullHostname(host, namespaceOf(object), catalog.clusterDomain);
    if (full === '*') return true;
    return full.startsWith('*') ? hostname.endsWith(full.slice(1)) : hostname === full || hostname === host;
  });
}

function statusOf(
  object: VirtualService,
  given: {
    readonly services: readonly ServiceInfo[];
    readonly bound: readonly ServiceInfo[];
    readonly problems: ReadonlySet<string>;
  },
): StatusPatch {
  const { services, bound, problems } = given;
  const hosts = (object.spec.hosts ?? []).join(', ');
  if (services.length === 0) return toStatus(object, 'NoMatchingHost', `no service has the host ${hosts}`);
  if (bound.length === 0) {
    return toStatus(object, 'NoWaypoint', `no service of ${hosts} has a waypoint: the routes take no effect`);
  }
  if (problems.size > 0) return toStatus(object, 'PartiallyInvalid', [...problems].join('; '));
  const names = bound.map(({ service }) => service.hostname).sort();
  return toStatus(object, 'Accepted', `in force for ${names.join(', ')}`);
}

export type ServedReason = 'Accepted' | 'PartiallyInvalid' | 'NoMatchingHost' | 'NoWaypoint' | 'GatewaysNotServed';

function toStatus(object: VirtualService, reason: ServedReason, message: string): StatusPatch {
  const status: ConditionValue['status'] = reason === 'Accepted' ? 'True' : 'False';
  return {
    kind: { group: 'networking.istio.io', kind: object.kind },
    key: { namespace: namespaceOf(object), name: object.metadata.name },
    conditions: [{ type: 'culvert.dev/Served', status, reason, message: message.slice(0, 4_096) }],
  };
}

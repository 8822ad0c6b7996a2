/**
 * ServiceEntry to services, one per host, and to workloads, one per endpoint. Source: Istio control plane.
 * `exportTo` has no meaning in ambient mode.
 */
import { canonicalIp, formatIp, parseIp } from '../../model/ip.ts';
import type { LoadBalancing, Service, ServiceAddress } from '../../model/service.ts';
import type { Workload } from '../../model/workload.ts';
import type { WorkloadEntrySpec } from '../../schema/index.ts';
import type { ConditionValue, StatusPatch } from '../ir.ts';
import { namespaceOf, type ServiceEntry } from '../resources.ts';
import { entryProtocolOf } from './app-protocol.ts';
import type { AllocatedAddress } from './auto-addresses.ts';
import type { PolicyScope } from './policy-scope.ts';
import { requiresWaypoint, tunnelPolicyKeys, waypointUse } from './policy-scope.ts';
import { annotatedDistribution, bindService, type ServiceSurroundings } from './service.ts';
import { entryPorts, type ServiceInfo } from './service-info.ts';
import { bindWaypoint, waypointKey } from './waypoint.ts';
import { canonicalNames, entryAddress, localityOf, tunnelOf, withDefaults } from './workload-parts.ts';

export interface EntryServices {
  readonly infos: readonly ServiceInfo[];
  readonly status: StatusPatch;
}

const KIND = { group: 'networking.istio.io', kind: 'ServiceEntry' };
/** These find their endpoints by resolving the host. */
const RESOLUTIONS = {
  NONE: 'NONE',
  STATIC: 'STATIC',
  DNS: 'DNS',
  DNS_ROUND_ROBIN: 'DNS',
  DYNAMIC_DNS: 'DYNAMIC_DNS',
} as const;
const RESOLVING: ReadonlySet<string> = new Set(['DNS', 'DYNAMIC_DNS', 'DNS_ROUND_ROBIN']);

export function translateEntryServices(
  entry: ServiceEntry,
  around: ServiceSurroundings,
  allocated: readonly AllocatedAddress[],
): EntryServices {
  const namespace = namespaceOf(entry);
  const { name } = entry.metadata;
  const { spec } = entry;
  const { binding, wanted } = bindService(entry, around);
  const conditions: ConditionValue[] = binding.condition ? [binding.condition] : [];
  if (!binding.waypoint && spec.hosts.some((host) => host.startsWith('*'))) conditions.push(WILDCARD_WITHOUT_WAYPOINT);
  const given = (spec.addresses ?? []).map((text) => parseAddress(text, around.network));
  const addresses = given.filter((address) => address !== undefined);
  const fields = allocated.length > 0 ? { addresses: allocated.map(({ host, ip }) => ({ host, value: ip })) } : {};
  const status: StatusPatch = { kind: KIND, key: { namespace, name }, conditions, fields };
  // One address that cannot be read makes the entry say something else than it means.
  if (addresses.length < given.length) {
    return { infos: [], status: { ...status, conditions: [...conditions, UNREADABLE_ADDRESS] } };
  }
  const ports = spec.ports ?? [];
  const infos = spec.hosts.map((hostname): ServiceInfo => {
    const own = allocated.filter(({ host }) => host === hostname).map(({ ip }) => parseAddress(ip, around.network));
    const service: Service = {
      name,
      namespace,
      hostname,
      addresses: addresses.length > 0 ? addresses : own.filter((address) => address !== undefined),
      ports: ports.map((port) => ({
        servicePort: port.number,
        targetPort: port.targetPort || port.number,
        appProtocol: entryProtocolOf({ name: port.name, port: port.number, protocol: port.protocol }),
      })),
      subjectAltNames: spec.subjectAltNames ?? [],
      waypoint: binding.waypoint?.address,
      weightedWaypoints: binding.weighted,
      loadBalancing: entryLoadBalancing(entry, around),
      ipFamilies: 'AUTOMATIC',
      canonical: false,
      ingressUseWaypoint: binding.ingressUseWaypoint,
      visibility: 'PUBLIC',
    };
    const selector = spec.workloadSelector?.labels ?? {};
    return {
      key: `${namespace}/${hostname}`,
      origin: 'ServiceEntry',
      service,
      selector: Object.keys(selector).length > 0 ? selector : undefined,
      ports: ports.map((port) => ({ name: port.name, port: port.number, targetPort: port.targetPort || undefined })),
      waypoint: binding.waypoint && waypointKey(binding.waypoint),
      wanted,
      requiresWaypoint: requiresWaypoint(entry.metadata.labels, around.namespace?.metadata.labels),
      resolution: RESOLUTIONS[spec.resolution ?? 'NONE'],
      location: spec.location ?? 'MESH_EXTERNAL',
      status: undefined,
    };
  });
  return { infos, status };
}

const UNREADABLE_ADDRESS: ConditionValue = {
  type: 'culvert.dev/Served',
  status: 'False',
  reason: 'InvalidAddress',
  message: 'spec.addresses has one that is neither an IP address nor a block of them: the entry takes no effect',
};

const WILDCARD_WITHOUT_WAYPOINT: ConditionValue = {
  type: 'istio.io/WaypointMissing',
  status: 'True',
  reason: 'NoWaypointForWildcardService',
  message: 'A wildcard host needs a waypoint; without one its traffic is passed through',
};

function entryLoadBalancing({ spec, metadata }: ServiceEntry, { namespace }: ServiceSurroundings): LoadBalancing {
  if ((spec.resolution ?? 'NONE') === 'NONE') {
    return { mode: 'PASSTHROUGH', routingPreference: [], healthPolicy: 'ALLOW_ALL' };
  }
  const preference = annotatedDistribution(metadata.annotations ?? {}, namespace?.metadata.annotations ?? {});
  return { ...preference, healthPolicy: 'ONLY_HEALTHY' };
}

function parseAddress(text: string, network: string): ServiceAddress | undefined {
  const [address = '', length, ...rest] = text.split('/');
  const ip = canonicalIp(address);
  if (ip === undefined || rest.length > 0) return undefined;
  const full = ip.includes(':') ? 128 : 32;
  if (length === undefined) return { network, range: { ip, prefixLength: full } };
  const prefixLength = Number(length);
  if (!/^\d{1,3}$/.test(length) || prefixLength > full) return undefined;
  return { network, range: { ip: maskIp(ip, prefixLength), prefixLength } };
}

function maskIp(ip: string, prefixLength: number): string {
  const parsed = parseIp(ip);
  if (!parsed) return ip;
  const hostBits = BigInt((parsed.family === 4 ? 32 : 128) - prefixLength);
  return formatIp({ family: parsed.family, value: (parsed.value >> hostBits) << hostBits });
}

type EntrySurroundings = Pick<ServiceSurroundings, 'settings' | 'network' | 'namespace' | 'waypoints'> & {
  readonly policies: PolicyScope;
  readonly isServed: (gateway: string) => boolean;
};

/** Workloads of an entry whose `services` survived de-duplication. */
export function translateEntryWorkloads(
  entry: ServiceEntry,
  services: readonly ServiceInfo[],
  around: EntrySurroundings,
): readonly Workload[] {
  if (services.length === 0) return [];
  const { spec } = entry;
  const endpoints = spec.endpoints ?? [];
  if (endpoints.length > 0) {
    return unique(endpoints.map((endpoint) => entryWorkload(entry, endpoint, { services, around, implicit: false })));
  }
  if (spec.workloadSelector || !RESOLVING.has(spec.resolution ?? 'NONE')) return [];
  const implicit = services.map((info) =>
    entryWorkload(entry, { address: info.service.hostname }, { services: [info], around, implicit: true }),
  );
  return unique(implicit);
}

function entryWorkload(
  entry: ServiceEntry,
  endpoint: WorkloadEntrySpec,
  given: {
    services: readonly ServiceInfo[];
    around: EntrySurroundings;
    implicit: boolean;
  },
): Workload {
  const { services, around, implicit } = given;
  const namespace = namespaceOf(entry);
  const { name, labels = {}, annotations = {} } = entry.metadata;
  const address = endpoint.address ?? '';
  const binding = implicit
    ? undefined
    : bindWaypoint(
        { namespace, labels: endpoint.labels ?? {}, annotations: {}, traffic: 'workload' },
        around.namespace,
        around.waypoints,
      );
  const own = binding?.waypoint && waypointKey(binding.waypoint);
  const use = waypointUse(services, around.isServed, { own, required: false });
  return withDefaults({
    uid: `${around.settings.clusterId}/networking.istio.io/ServiceEntry/${namespace}/${name}/${address}`,
    name,
    namespace,
    ...entryAddress(address),
    ...tunnelOf(labels, annotations),
    ...canonicalNames(labels, name),
    network: endpoint.network ?? around.network,
    trustDomain: around.settings.trustDomain,
    ...(endpoint.serviceAccount ? { serviceAccount: endpoint.serviceAccount } : {}),
    waypoint: binding?.waypoint?.address,
    workloadType: 'POD',
    workloadName: name,
    services: new Map(services.map((info) => [info.key, entryPorts(info, endpoint.ports ?? {})])),
    // An entry without any label is listed with every selector policy of its namespace: the reference does so, and no
    // tunnel ever evaluates the policies of such an endpoint.
    authorizationPolicies: tunnelPolicyKeys(around.policies, Object.keys(labels).length > 0 ? labels : undefined, use),
    clusterId: around.settings.clusterId,
    locality: localityOf(endpoint.locality),
    capacity: endpoint.weight && endpoint.weight > 0 ? endpoint.weight : 1,
  });
}

function unique(workloads: readonly Workload[]): readonly Workload[] {
  return [...new Map(workloads.map((workload) => [workload.uid, workload])).values()];
}

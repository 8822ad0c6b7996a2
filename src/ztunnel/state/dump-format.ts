/**
 * Workloads, services and policies in the shape of the node tunnel's config dump, which `istioctl ztunnel-config` reads.
 * `static-config.ts` reads the same shape. Source: Istio ztunnel `/config_dump`.
 */
import type { Authorization, Match, StringMatch } from '../../model/authorization.ts';
import { authorizationKey } from '../../model/authorization.ts';
import type { Endpoint } from '../../model/mesh-view.ts';
import { type Service, type ServiceAddress, serviceKey } from '../../model/service.ts';
import type { GatewayAddress, PortMap, Workload } from '../../model/workload.ts';
import type { MeshState } from './mesh-state.ts';
import { isWhole } from './service-index.ts';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
type Fields = Readonly<Record<string, Json | undefined>>;

/** The state's part of the dump: `workloads`, `services`, `policies`, `stagedServices`. */
export function dumpState(state: MeshState): Readonly<Record<string, Json>> {
  const stagedServices = Object.fromEntries(
    [...state.services.stagedKeys()].map((key) => [key, dumpEndpoints(state.services.endpoints(key).values())]),
  );
  return {
    workloads: sortedBy([...state.workloads.all()], ({ uid }) => uid).map(dumpWorkload),
    services: sortedBy([...state.services.all()], ({ hostname, namespace }) => `${hostname}/${namespace}`).map(
      (service) => dumpService(service, state.endpoints(serviceKey(service))),
    ),
    policies: sortedBy([...state.policies.all()], authorizationKey).map(dumpPolicy),
    stagedServices,
  };
}

export function dumpWorkload(workload: Workload): Json {
  const { locality, applicationTunnel } = workload;
  const hasLocality = locality.region !== '' || locality.zone !== '' || locality.subzone !== '';
  return json({
    workloadIps: [...workload.addresses],
    waypoint: workload.waypoint && dumpGateway(workload.waypoint),
    networkGateway: workload.networkGateway && dumpGateway(workload.networkGateway),
    protocol: workload.tunnelProtocol === 'NONE' ? 'TCP' : workload.tunnelProtocol,
    networkMode: pascal(workload.networkMode),
    uid: workload.uid,
    name: workload.name,
    namespace: workload.namespace,
    trustDomain: nonEmpty(workload.trustDomain),
    serviceAccount: nonEmpty(workload.serviceAccount),
    network: nonEmpty(workload.network),
    workloadName: nonEmpty(workload.workloadName),
    workloadType: workload.workloadType.toLowerCase(),
    canonicalName: nonEmpty(workload.canonicalName),
    canonicalRevision: nonEmpty(workload.canonicalRevision),
    hostname: nonEmpty(workload.hostname),
    node: nonEmpty(workload.node),
    nativeTunnel: workload.nativeTunnel || undefined,
    applicationTunnel:
      applicationTunnel &&
      json({
        protocol: applicationTunnel.protocol,
        port: applicationTunnel.port > 0 ? applicationTunnel.port : undefined,
      }),
    authorizationPolicies: nonEmpty(workload.authorizationPolicies),
    status: pascal(workload.status),
    clusterId: workload.clusterId,
    locality: hasLocality ? json({ ...mapValues(locality, nonEmpty) }) : undefined,
    services: nonEmpty([...workload.services.keys()].sort()),
    capacity: workload.capacity,
  });
}

export function dumpService(service: Service, endpoints: Iterable<Endpoint>): Json {
  const { loadBalancing } = service;
  return json({
    name: service.name,
    namespace: service.namespace,
    hostname: service.hostname,
    vips: service.addresses.map(dumpVip),
    ports: Object.fromEntries(service.ports.map(({ servicePort, targetPort }) => [servicePort, targetPort])),
    endpoints: dumpEndpoints(endpoints),
    subjectAltNames: [...service.subjectAltNames],
    waypoint: service.waypoint && dumpGateway(service.waypoint),
    weightedWaypoints: nonEmpty(
      service.weightedWaypoints.map(({ destination, weight }) => ({ ...dumpGateway(destination), weight })),
    ),
    loadBalancer: hasDefaultBalancing(service)
      ? undefined
      : {
          mode: loadBalancing.mode === 'UNSPECIFIED' ? 'Standard' : pascal(loadBalancing.mode),
          routingPreferences: loadBalancing.routingPreference.map(pascal),
          healthPolicy: loadBalancing.healthPolicy === 'ALLOW_ALL' ? 'AllowAll' : 'OnlyHealthy',
        },
    ipFamilies: IP_FAMILIES[service.ipFamilies],
    canonical: service.canonical,
    visibility: pascal(service.visibility),
  });
}

export function dumpPolicy(policy: Authorization): Json {
  return json({
    name: policy.name,
    namespace: policy.namespace,
    scope: pascal(policy.scope),
    action: pascal(policy.action),
    rules: policy.rules.map(({ clauses }) => clauses.map(({ matches }) => matches.map(dumpMatch))),
    dryRun: policy.dryRun,
  });
}

export const IP_FAMILIES = { AUTOMATIC: undefined, IPV4_ONLY: 'IPv4', IPV6_ONLY: 'IPv6', DUAL: 'Dual' } as const;

function dumpMatch(match: Match): Json {
  const cidr = ({ ip, prefixLength }: Match['sourceIps'][number]): string => `${ip}/${prefixLength}`;
  const account = ({ namespace, serviceAccount }: Match['serviceAccounts'][number]): string =>
    `${namespace}/${serviceAccount}`;
  return json({
    namespaces: nonEmpty(match.namespaces.map(dumpStringMatch)),
    notNamespaces: nonEmpty(match.notNamespaces.map(dumpStringMatch)),
    principals: nonEmpty(match.principals.map(dumpStringMatch)),
    notPrincipals: nonEmpty(match.notPrincipals.map(dumpStringMatch)),
    serviceAccounts: nonEmpty(match.serviceAccounts.map(account)),
    notServiceAccounts: nonEmpty(match.notServiceAccounts.map(account)),
    sourceIps: nonEmpty(match.sourceIps.map(cidr)),
    notSourceIps: nonEmpty(match.notSourceIps.map(cidr)),
    destinationIps: nonEmpty(match.destinationIps.map(cidr)),
    notDestinationIps: nonEmpty(match.notDestinationIps.map(cidr)),
    destinationPorts: nonEmpty(match.destinationPorts),
    notDestinationPorts: nonEmpty(match.notDestinationPorts),
  });
}

function dumpStringMatch(match: StringMatch): Json {
  return match.kind === 'presence' ? { Presence: [] } : { [pascal(match.kind)]: match.value };
}

function dumpGateway({ destination, hboneMtlsPort }: GatewayAddress): { readonly [key: string]: Json } {
  const text =
    destination.kind === 'hostname'
      ? `${destination.namespace}/${destination.hostname}`
      : `${destination.network}/${destination.ip}`;
  return { destination: text, hboneMtlsPort };
}

function dumpVip({ network, range }: ServiceAddress): string {
  return isWhole(range) ? `${network}/${range.ip}` : `${network}/${range.ip}/${range.prefixLength}`;
}

function dumpEndpoints(endpoints: Iterable<Endpoint>): Json {
  const entries = Array.from(endpoints, ({ workloadUid, ports, status }) => [
    workloadUid,
    { workloadUid, port: dumpPorts(ports), status: pascal(status) },
  ]);
  return Object.fromEntries(entries) as Json; // string keys, JSON values
}

function dumpPorts(ports: PortMap): Json {
  return Object.fromEntries([...ports].map(([from, to]) => [String(from), to]));
}

function hasDefaultBalancing({ loadBalancing: { mode, routingPreference, healthPolicy } }: Service): boolean {
  return mode === 'UNSPECIFIED' && routingPreference.length === 0 && healthPolicy === 'ONLY_HEALTHY';
}

/** `WORKLOAD_SELECTOR` and `exact` become `WorkloadSelector` and `Exact`. */
export function pascal(name: string): string {
  return name
    .toLowerCase()
    .split('_')
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('');
}

function nonEmpty<T extends string | readonly Json[]>(value: T): T | undefined {
  return value.length > 0 ? value : undefined;
}

function mapValues(object: object, map: (value: string) => string | undefined): Fields {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(String(value))]));
}

/** Without the absent fields. */
function json(fields: Fields): Json {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Json; // just filtered
}

function sortedBy<T>(values: T[], key: (value: T) => string): T[] {
  return values.sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

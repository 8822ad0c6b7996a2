/**
 * Workloads and services between their wire messages and the model.
 *
 * Decoding refuses a resource as a whole, with the reason, and never half of it. Encoding gives the same bytes for the
 * same value, and the bytes of the reference control plane where the model has all of its facts.
 * Source: Istio workload.proto; defaults and refusals as in Istio's tunnel.
 */
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  AddressSchema,
  type LoadBalancing as LoadBalancingMessage,
  type NetworkAddress as NetworkAddressMessage,
  PortListSchema,
  type Service as ServiceMessage,
  ServiceSchema,
  type Workload as WorkloadMessage,
  WorkloadSchema,
} from '../gen/workload_pb.js';
import { DEFAULT_TRUST_DOMAIN } from '../model/identity.ts';
import type { AppProtocol, LoadBalancing, Scope, Service, ServiceAddress } from '../model/service.ts';
import type { PortMap, Workload } from '../model/workload.ts';
import {
  decoding,
  enumName,
  enumNumber,
  fromGateway,
  malformed,
  parseIpBytes,
  port16,
  toGateway,
  toIpBytes,
} from './resource-codec.ts';

/** One resource of type `Address`. */
export type Address =
  | { readonly kind: 'workload'; readonly workload: Workload }
  | { readonly kind: 'service'; readonly service: Service };

const DEFAULT_SERVICE_ACCOUNT = 'default';
const DEFAULT_CLUSTER_ID = 'Kubernetes';
const TUNNEL_PROTOCOLS = ['NONE', 'HBONE', 'LEGACY_ISTIO_MTLS'] as const;
const STATUSES = ['HEALTHY', 'UNHEALTHY'] as const;
const WORKLOAD_TYPES = ['DEPLOYMENT', 'CRONJOB', 'POD', 'JOB'] as const;
const NETWORK_MODES = ['STANDARD', 'HOST_NETWORK'] as const;
const APPLICATION_PROTOCOLS = ['NONE', 'PROXY'] as const;
const IP_FAMILIES = ['AUTOMATIC', 'IPV4_ONLY', 'IPV6_ONLY', 'DUAL'] as const;
const APP_PROTOCOLS: readonly AppProtocol[] = ['UNKNOWN', 'HTTP11', 'HTTP2', 'GRPC', 'TCP', 'TLS'];
const SCOPES = ['UNSPECIFIED_SCOPE', 'REGION', 'ZONE', 'SUBZONE', 'NODE', 'CLUSTER', 'NETWORK'] as const;
const MODES = ['UNSPECIFIED', 'STRICT', 'FAILOVER', 'PASSTHROUGH'] as const;
const HEALTH_POLICIES = ['ONLY_HEALTHY', 'ALLOW_ALL'] as const;
const NAMESPACE_VISIBILITY = 1;

/** Throws ERR_MALFORMED with the reason of the refusal. */
export function decodeAddress(bytes: Uint8Array): Address {
  return decoding(() => {
    const { type } = fromBinary(AddressSchema, bytes);
    switch (type.case) {
      case 'workload':
        return { kind: 'workload', workload: fromWorkload(type.value) };
      case 'service':
        return { kind: 'service', service: fromService(type.value) };
      default:
        throw malformed('address is neither a workload nor a service');
    }
  });
}

/** The `Address` resource of a workload. Throws ERR_MALFORMED when an address is not one. */
export function encodeWorkload(workload: Workload): Uint8Array {
  const value = create(WorkloadSchema, toWorkload(workload));
  return toBinary(AddressSchema, create(AddressSchema, { type: { case: 'workload', value } }));
}

/** The `Address` resource of a service. Throws ERR_MALFORMED when an address is not one. */
export function encodeService(service: Service): Uint8Array {
  const value = create(ServiceSchema, toService(service));
  return toBinary(AddressSchema, create(AddressSchema, { type: { case: 'service', value } }));
}

function fromWorkload(m: WorkloadMessage): Workload {
  if (m.uid === '') throw malformed('workload without uid');
  const tunnelProtocol = enumName(TUNNEL_PROTOCOLS, m.tunnelProtocol, 'tunnel protocol');
  if (tunnelProtocol === 'LEGACY_ISTIO_MTLS') throw malformed('unsupported tunnel protocol: LEGACY_ISTIO_MTLS');
  const tunnel = m.applicationTunnel;
  return {
    uid: m.uid,
    name: m.name,
    namespace: m.namespace,
    addresses: m.addresses.map(parseIpBytes),
    hostname: m.hostname,
    network: m.network,
    tunnelProtocol,
    trustDomain: m.trustDomain || DEFAULT_TRUST_DOMAIN,
    serviceAccount: m.serviceAccount || DEFAULT_SERVICE_ACCOUNT,
    waypoint: m.waypoint && fromGateway(m.waypoint),
    networkGateway: m.networkGateway && fromGateway(m.networkGateway),
    node: m.node,
    canonicalName: m.canonicalName,
    canonicalRevision: m.canonicalRevision,
    workloadType: enumName(WORKLOAD_TYPES, m.workloadType, 'workload type'),
    workloadName: m.workloadName,
    nativeTunnel: m.nativeTunnel,
    applicationTunnel: tunnel && {
      protocol: enumName(APPLICATION_PROTOCOLS, tunnel.protocol, 'application tunnel protocol'),
      port: port16(tunnel.port),
    },
    services: new Map(Object.entries(m.services).map(([key, list]) => [parseServiceKey(key), fromPorts(list.ports)])),
    authorizationPolicies: m.authorizationPolicies,
    status: enumName(STATUSES, m.status, 'workload status'),
    clusterId: m.clusterId || DEFAULT_CLUSTER_ID,
    locality: {
      region: m.locality?.region ?? '',
      zone: m.locality?.zone ?? '',
      subzone: m.locality?.subzone ?? '',
    },
    networkMode: enumName(NETWORK_MODES, m.networkMode, 'network mode'),
    capacity: m.capacity ?? 1,
  };
}

function toWorkload(w: Workload): MessageInitShape<typeof WorkloadSchema> {
  const { region, zone, subzone } = w.locality;
  return {
    uid: w.uid,
    name: w.name,
    namespace: w.namespace,
    addresses: w.addresses.map(toIpBytes),
    hostname: w.hostname,
    network: w.network,
    tunnelProtocol: enumNumber(TUNNEL_PROTOCOLS, w.tunnelProtocol),
    trustDomain: w.trustDomain === DEFAULT_TRUST_DOMAIN ? '' : w.trustDomain,
    serviceAccount: isUnnamedAccount(w) ? '' : w.serviceAccount,
    ...(w.waypoint && { waypoint: toGateway(w.waypoint) }),
    ...(w.networkGateway && { networkGateway: toGateway(w.networkGateway) }),
    node: w.node,
    canonicalName: w.canonicalName,
    canonicalRevision: w.canonicalRevision,
    workloadType: enumNumber(WORKLOAD_TYPES, w.workloadType),
    workloadName: w.workloadName,
    nativeTunnel: w.nativeTunnel,
    ...(w.applicationTunnel && {
      applicationTunnel: {
        protocol: enumNumber(APPLICATION_PROTOCOLS, w.applicationTunnel.protocol),
        port: w.applicationTunnel.port,
      },
    }),
    services: Object.fromEntries(
      [...w.services].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, ports]) => [key, toPorts(ports)]),
    ),
    authorizationPolicies: [...w.authorizationPolicies],
    status: enumNumber(STATUSES, w.status),
    clusterId: w.clusterId,
    ...((region || zone || subzone) && { locality: { region, zone, subzone } }),
    networkMode: enumNumber(NETWORK_MODES, w.networkMode),
    ...(w.capacity !== 1 && { capacity: w.capacity }),
  };
}

/** A pod always names its account; for other workloads the control plane leaves the default one out. */
function isUnnamedAccount(w: Workload): boolean {
  return w.serviceAccount === DEFAULT_SERVICE_ACCOUNT && !w.uid.includes('//Pod/');
}

function parseServiceKey(key: string): string {
  const [namespace, hostname, ...rest] = key.split('/');
  if (!namespace || !hostname || rest.length > 0) throw malformed(`malformed service name ${key}`);
  return key;
}

function fromPorts(ports: readonly { servicePort: number; targetPort: number; appProtocol: number }[]): PortMap {
  for (const { appProtocol } of ports) enumName(APP_PROTOCOLS, appProtocol, 'application protocol');
  return new Map(ports.map((p) => [port16(p.servicePort), port16(p.targetPort)]));
}

function toPorts(ports: PortMap) {
  const list = [...ports].map(([servicePort, targetPort]) => ({ servicePort, targetPort }));
  return create(PortListSchema, { ports: list });
}

function fromService(m: ServiceMessage): Service {
  if (m.hostname === '') throw malformed('service without hostname');
  return {
    name: m.name,
    namespace: m.namespace,
    hostname: m.hostname,
    addresses: m.addresses.map(fromServiceAddress),
    ports: m.ports.map((p) => ({
      servicePort: port16(p.servicePort),
      targetPort: port16(p.targetPort),
      appProtocol: enumName(APP_PROTOCOLS, p.appProtocol, 'application protocol'),
    })),
    subjectAltNames: m.subjectAltNames,
    waypoint: m.waypoint && fromGateway(m.waypoint),
    weightedWaypoints: m.weightedWaypoints.map(({ destination, weight }) => {
      if (!destination) throw malformed('weighted waypoint without a destination');
      return { destination: fromGateway(destination), weight };
    }),
    loadBalancing: fromLoadBalancing(m.loadBalancing),
    ipFamilies: enumName(IP_FAMILIES, m.ipFamilies, 'IP families'),
    canonical: m.canonical,
    ingressUseWaypoint: m.ingressUseWaypoint,
    visibility: m.visibility === NAMESPACE_VISIBILITY ? 'NAMESPACE' : 'PUBLIC',
  };
}

function toService(s: Service): MessageInitShape<typeof ServiceSchema> {
  return {
    name: s.name,
    namespace: s.namespace,
    hostname: s.hostname,
    addresses: s.addresses.map(toServiceAddress),
    ports: s.ports.map((p) => ({
      servicePort: p.servicePort,
      targetPort: p.targetPort,
      appProtocol: enumNumber(APP_PROTOCOLS, p.appProtocol),
    })),
    subjectAltNames: [...s.subjectAltNames],
    ...(s.waypoint && { waypoint: toGateway(s.waypoint) }),
    weightedWaypoints: s.weightedWaypoints.map((w) => ({ destination: toGateway(w.destination), weight: w.weight })),
    ...toLoadBalancing(s.loadBalancing),
    ipFamilies: enumNumber(IP_FAMILIES, s.ipFamilies),
    canonical: s.canonical,
    ingressUseWaypoint: s.ingressUseWaypoint,
    visibility: s.visibility === 'NAMESPACE' ? NAMESPACE_VISIBILITY : 0,
  };
}

function fromServiceAddress({ network, address, length }: NetworkAddressMessage): ServiceAddress {
  const ip = parseIpBytes(address);
  const full = fullLength(ip);
  const prefixLength = length ?? full;
  if (prefixLength > full) throw malformed(`invalid prefix length ${prefixLength} of ${ip}`);
  return { network, range: { ip, prefixLength } };
}

function toServiceAddress({ network, range }: ServiceAddress) {
  const isBlock = range.prefixLength < fullLength(range.ip);
  return { network, address: toIpBytes(range.ip), ...(isBlock && { length: range.prefixLength }) };
}

function fullLength(ip: string): number {
  return ip.includes(':') ? 128 : 32;
}

function fromLoadBalancing(m: LoadBalancingMessage | undefined): LoadBalancing {
  return {
    mode: enumName(MODES, m?.mode ?? 0, 'load balancing mode'),
    routingPreference: (m?.routingPreference ?? []).map((value): Scope => {
      const scope = enumName(SCOPES, value, 'load balancing scope');
      if (scope === 'UNSPECIFIED_SCOPE') throw malformed('unspecified load balancing scope');
      return scope;
    }),
    healthPolicy: enumName(HEALTH_POLICIES, m?.healthPolicy ?? 0, 'health policy'),
  };
}

function toLoadBalancing({ mode, routingPreference, healthPolicy }: LoadBalancing) {
  if (mode === 'UNSPECIFIED' && routingPreference.length === 0 && healthPolicy === 'ONLY_HEALTHY') return {};
  return {
    loadBalancing: {
      mode: enumNumber(MODES, mode),
      routingPreference: routingPreference.map((scope) => enumNumber(SCOPES, scope)),
      healthPolicy: enumNumber(HEALTH_POLICIES, healthPolicy),
    },
  };
}

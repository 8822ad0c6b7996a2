/** Workloads, services and policies for tests: complete objects from the few fields that matter to the case. */
import type { Authorization } from '../../src/model/authorization.ts';
import { ipFamily } from '../../src/model/ip.ts';
import type { AppProtocol, Service, ServiceAddress } from '../../src/model/service.ts';
import type { GatewayAddress, Workload } from '../../src/model/workload.ts';

/** A healthy HBONE pod `default/<name>` on node `n1` with 10.0.0.1, unless `fields` says otherwise. */
export function workload(fields: Partial<Workload> & { readonly name: string }): Workload {
  const { name, namespace = 'default' } = fields;
  return {
    uid: `cluster1//Pod/${namespace}/${name}`,
    namespace,
    addresses: ['10.0.0.1'],
    hostname: '',
    network: '',
    tunnelProtocol: 'HBONE',
    trustDomain: 'cluster.local',
    serviceAccount: name,
    waypoint: undefined,
    networkGateway: undefined,
    node: 'n1',
    canonicalName: name,
    canonicalRevision: 'v1',
    workloadType: 'DEPLOYMENT',
    workloadName: name,
    nativeTunnel: false,
    applicationTunnel: undefined,
    services: new Map(),
    authorizationPolicies: [],
    status: 'HEALTHY',
    clusterId: 'Kubernetes',
    locality: { region: '', zone: '', subzone: '' },
    networkMode: 'STANDARD',
    capacity: 1,
    ...fields,
  };
}

/** A service `default/<name>.default.svc.cluster.local` without VIPs; `ports` is service port to target port. */
export function service(
  fields: Partial<Omit<Service, 'ports'>> & {
    readonly name: string;
    readonly ports?: Readonly<Record<number, number>>;
  },
): Service {
  const { name, namespace = 'default', ports = { 80: 8080 } } = fields;
  return {
    namespace,
    hostname: `${name}.${namespace}.svc.cluster.local`,
    addresses: [],
    subjectAltNames: [],
    waypoint: undefined,
    weightedWaypoints: [],
    loadBalancing: { mode: 'UNSPECIFIED', routingPreference: [], healthPolicy: 'ONLY_HEALTHY' },
    ipFamilies: 'AUTOMATIC',
    canonical: false,
    ingressUseWaypoint: false,
    visibility: 'PUBLIC',
    ...fields,
    ports: Object.entries(ports).map(([servicePort, targetPort]) => ({
      servicePort: Number(servicePort),
      targetPort,
      appProtocol: 'UNKNOWN' satisfies AppProtocol,
    })),
  };
}

/** One VIP, or a block when `prefixLength` is given. */
export function vip(ip: string, prefixLength = ipFamily(ip) === 4 ? 32 : 128, network = ''): ServiceAddress {
  return { network, range: { ip, prefixLength } };
}

/** Membership of a workload in services: `{ 'ns/host': { servicePort: targetPort } }`. */
export function memberOf(services: Readonly<Record<string, Readonly<Record<number, number>>>>): Workload['services'] {
  return new Map(
    Object.entries(services).map(([key, ports]) => [
      key,
      new Map(Object.entries(ports).map(([from, to]) => [Number(from), to])),
    ]),
  );
}

export function gatewayAt(ip: string, hboneMtlsPort = 15_008, network = ''): GatewayAddress {
  return { destination: { kind: 'address', network, ip }, hboneMtlsPort };
}

export function gatewayNamed(namespace: string, hostname: string, hboneMtlsPort = 15_008): GatewayAddress {
  return { destination: { kind: 'hostname', namespace, hostname }, hboneMtlsPort };
}

/** A policy that matches everything, `default/<name>`, GLOBAL, ALLOW unless `fields` says otherwise. */
export function policy(fields: Partial<Authorization> & { readonly name: string }): Authorization {
  return {
    namespace: 'default',
    scope: 'GLOBAL',
    action: 'ALLOW',
    rules: [{ clauses: [] }],
    dryRun: false,
    ...fields,
  };
}

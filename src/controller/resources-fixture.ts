/** Snapshots for tests, from plain objects. */
import type { KubeObject, RefusedObject } from '../kube/index.ts';
import { findKind } from '../schema/index.ts';
import type { Resources } from './resources.ts';

const FIELDS: Readonly<Record<string, Exclude<keyof Resources, 'notServed' | 'refusedPolicies' | 'podGroups'>>> = {
  Namespace: 'namespaces',
  Node: 'nodes',
  Pod: 'pods',
  Service: 'services',
  Secret: 'secrets',
  EndpointSlice: 'endpointSlices',
  WorkloadEntry: 'workloadEntries',
  ServiceEntry: 'serviceEntries',
  AuthorizationPolicy: 'authorizationPolicies',
  RequestAuthentication: 'requestAuthentications',
  RateLimitPolicy: 'rateLimitPolicies',
  Telemetry: 'telemetries',
  ConfigMap: 'configMaps',
  IstioOperator: 'operators',
  PeerAuthentication: 'peerAuthentications',
  Gateway: 'gateways',
  GatewayClass: 'gatewayClasses',
  HTTPRoute: 'httpRoutes',
  GRPCRoute: 'grpcRoutes',
  TCPRoute: 'tcpRoutes',
  TLSRoute: 'tlsRoutes',
  ReferenceGrant: 'referenceGrants',
  VirtualService: 'virtualServices',
  DestinationRule: 'destinationRules',
};

export function resourcesOf(objects: readonly KubeObject[], refusedPolicies: readonly RefusedObject[] = []): Resources {
  const lists: Record<string, KubeObject[]> = { notServed: [] };
  for (const field of Object.values(FIELDS)) lists[field] = [];
  for (const object of objects) {
    const group = object.apiVersion.includes('/') ? (object.apiVersion.split('/')[0] ?? '') : '';
    const field = FIELDS[object.kind];
    if (field) lists[field]?.push(object);
    else if (findKind(group, object.kind)?.serving === 'not-served') lists.notServed?.push(object);
  }
  return { ...lists, refusedPolicies } as unknown as Resources; // fixtures are checked by their kinds' schemas
}

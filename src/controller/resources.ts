/** The objects that the control plane reads, as one readonly snapshot. */
import type { KubeObject, RefusedObject } from '../kube/index.ts';
import type {
  AuthorizationPolicySpec,
  Condition,
  DestinationRuleSpec,
  EndpointSliceBody,
  GatewayBody,
  GrpcRouteBody,
  HttpRouteBody,
  PeerAuthenticationSpec,
  PodBody,
  RateLimitPolicySpec,
  ReferenceGrantBody,
  RequestAuthenticationSpec,
  ServiceBody,
  ServiceEntrySpec,
  ServiceEntryStatus,
  TcpRouteBody,
  TlsRouteBody,
  VirtualServiceSpec,
  WorkloadEntrySpec,
} from '../schema/index.ts';

export type Namespace = KubeObject;
export type KubeNode = KubeObject;
export type Pod = KubeObject & PodBody;
export type KubeService = KubeObject & ServiceBody;
export type EndpointSlice = KubeObject & EndpointSliceBody;
export type Gateway = KubeObject & GatewayBody;
export type GatewayClass = KubeObject & { readonly spec?: { readonly controllerName: string } };
export type HttpRouteObject = KubeObject & HttpRouteBody;
export type GrpcRouteObject = KubeObject & GrpcRouteBody;
export type TcpRouteObject = KubeObject & TcpRouteBody;
export type TlsRouteObject = KubeObject & TlsRouteBody;
export type ReferenceGrant = KubeObject & ReferenceGrantBody;
export type Secret = KubeObject;

/** Some of a namespace's pods; the same value as before while nothing in it changed. */
export interface PodGroup {
  readonly key: string;
  readonly namespace: string;
  readonly pods: readonly Pod[];
}

interface WithConditions {
  readonly status?: { readonly conditions?: readonly Condition[] | undefined } | undefined;
}

export type AuthorizationPolicy = KubeObject & WithConditions & { readonly spec?: AuthorizationPolicySpec };
export type PeerAuthentication = KubeObject & WithConditions & { readonly spec?: PeerAuthenticationSpec };
export type RequestAuthentication = KubeObject & WithConditions & { readonly spec?: RequestAuthenticationSpec };
export type RateLimitPolicyObject = KubeObject & WithConditions & { readonly spec: RateLimitPolicySpec };
export type TelemetryObject = KubeObject & WithConditions & { readonly spec?: Readonly<Record<string, unknown>> };
export type WorkloadEntry = KubeObject & WithConditions & { readonly spec: WorkloadEntrySpec };
export type ServiceEntry = KubeObject & { readonly spec: ServiceEntrySpec; readonly status?: ServiceEntryStatus };
export type VirtualService = KubeObject & { readonly spec: VirtualServiceSpec };
export type DestinationRule = KubeObject & { readonly spec: DestinationRuleSpec };

export interface Resources {
  readonly namespaces: readonly Namespace[];
  readonly nodes: readonly KubeNode[];
  readonly pods: readonly Pod[];
  /** The same pods in groups, when the source keeps them so. */
  readonly podGroups?: readonly PodGroup[];
  readonly services: readonly KubeService[];
  readonly endpointSlices: readonly EndpointSlice[];
  readonly workloadEntries: readonly WorkloadEntry[];
  readonly serviceEntries: readonly ServiceEntry[];
  readonly authorizationPolicies: readonly AuthorizationPolicy[];
  readonly requestAuthentications: readonly RequestAuthentication[];
  readonly rateLimitPolicies: readonly RateLimitPolicyObject[];
  readonly telemetries: readonly TelemetryObject[];
  readonly configMaps: readonly KubeObject[];
  /** IstioOperator objects: their mesh configuration counts. */
  readonly operators: readonly KubeObject[];
  readonly peerAuthentications: readonly PeerAuthentication[];
  /** Of the two kinds before: those that cannot be understood and have no good version. */
  readonly refusedPolicies: readonly RefusedObject[];
  readonly gateways: readonly Gateway[];
  readonly gatewayClasses: readonly GatewayClass[];
  readonly httpRoutes: readonly HttpRouteObject[];
  readonly grpcRoutes: readonly GrpcRouteObject[];
  readonly tcpRoutes: readonly TcpRouteObject[];
  readonly tlsRoutes: readonly TlsRouteObject[];
  readonly referenceGrants: readonly ReferenceGrant[];
  readonly virtualServices: readonly VirtualService[];
  readonly destinationRules: readonly DestinationRule[];
  readonly secrets: readonly Secret[];
  /** Objects of kinds that are read and validated but take no effect yet. */
  readonly notServed: readonly KubeObject[];
}

/** `namespace/name`. */
export function nameOf({ metadata }: KubeObject): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`;
}

export function namespaceOf({ metadata }: KubeObject): string {
  return metadata.namespace ?? '';
}

/** Oldest first; a tie goes by namespace, then name. */
export function byAge(a: KubeObject, b: KubeObject): number {
  const ageA = a.metadata.creationTimestamp ?? '';
  const ageB = b.metadata.creationTimestamp ?? '';
  return compareText(ageA, ageB) || compareText(nameOf(a), nameOf(b));
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Served Kubernetes kinds, written once: types, validation and CRD manifests. */
export type { EndpointSliceBody, PodBody, ServiceBody } from './core-kinds.ts';
export { customResourceDefinition, shippedKinds } from './crd.ts';
export type { RateLimitPolicySpec, RateLimitSpec } from './culvert-kinds.ts';
export type { DestinationRuleSpec, TrafficPolicySpec, TrafficSettingsSpec } from './destination-rule-kind.ts';
export type { BackendTlsPolicyBody, GatewayBody, ListenerSpec } from './gateway-kinds.ts';
export type { Condition, KindDefinition, Serving } from './kind.ts';
export type { ServiceEntrySpec, ServiceEntryStatus, WorkloadEntrySpec } from './networking-kinds.ts';
export { type ReadablePolicy, type RefusedPolicy, readablePolicy } from './readable-policy.ts';
export { checkObject, findKind, KINDS, type SchemaFault } from './registry.ts';
export type {
  BackendRefSpec,
  FilteredBackendRef,
  GrpcRouteBody,
  GrpcRouteRule,
  HttpRouteBody,
  HttpRouteMatch,
  HttpRouteRule,
  L4RouteRule,
  ParentRef,
  ReferenceGrantBody,
  RouteFilter,
  SessionPersistenceSpec,
  TcpRouteBody,
  TlsRouteBody,
} from './route-kinds.ts';
export type {
  AuthorizationOperation,
  AuthorizationPolicySpec,
  AuthorizationRule,
  AuthorizationSource,
  PeerAuthenticationSpec,
  RequestAuthenticationSpec,
} from './security-kinds.ts';
export type {
  DestinationSpec,
  HeaderOperationsSpec,
  StringMatchSpec,
  VirtualHttpMatch,
  VirtualHttpRoute,
  VirtualServiceSpec,
  VirtualTcpRoute,
  VirtualTlsRoute,
} from './virtual-service-kind.ts';

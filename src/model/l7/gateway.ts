/**
 * What one waypoint or gateway serves. Every value here belongs to one Gateway (`namespace/name`) and is told to its
 * replicas alone.
 */
import type { AppProtocol, ServiceAddress } from '../service.ts';
import type { AuthorizationProvider } from './http-policy.ts';
import type { VirtualHost } from './http-route.ts';
import type { L4Route } from './l4-route.ts';
import type { TelemetrySettings } from './telemetry.ts';

/** Settings of the gateway as a whole. */
export interface GatewayConfig {
  readonly namespace: string;
  readonly name: string;
  readonly kind: 'WAYPOINT' | 'INGRESS';
  readonly trustDomain: string;
  /** Other names of the trust domain, for policies. */
  readonly trustDomainAliases: readonly string[];
  readonly clusterDomain: string;
  readonly network: string;
  readonly clusterId: string;
  /** `x-forwarded-client-cert` names the client (`ambient.istio.io/xfcc-include-client-identity`). */
  readonly xfccIncludesClient: boolean;
  /** Proxies in front whose x-forwarded-for entries are believed. */
  readonly trustedProxies: number;
  readonly pathNormalization: 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES';
  /** Keys (`namespace/name`) of policies for all traffic. */
  readonly policies: readonly string[];
  readonly authentications: readonly string[];
  readonly rateLimits: readonly string[];
  readonly telemetry: TelemetrySettings;
  readonly authorizationProviders: readonly AuthorizationProvider[];
  /** Listeners of an ingress gateway. */
  readonly listeners: readonly GatewayListener[];
}

/** A service bound to the waypoint: its addresses are what CONNECT may ask for. */
export interface BoundService {
  readonly namespace: string;
  readonly name: string;
  readonly hostname: string;
  readonly addresses: readonly ServiceAddress[];
  readonly ports: readonly BoundPort[];
  /** In force in addition to the gateway's. */
  readonly policies: readonly string[];
  readonly authentications: readonly string[];
  readonly rateLimits: readonly string[];
  /** Absent: the gateway's. */
  readonly telemetry?: TelemetrySettings;
}

export interface BoundPort {
  readonly port: number;
  /** `UNKNOWN`: found out by the first bytes. */
  readonly protocol: AppProtocol;
  readonly virtualHosts: readonly VirtualHost[];
  readonly l4Routes: readonly L4Route[];
}

/** A workload bound to the waypoint by itself: CONNECT may ask for its addresses, on any port. */
export interface BoundWorkload {
  readonly uid: string;
  /** Key of its one-endpoint cluster. */
  readonly cluster: string;
}

export interface GatewayListener {
  readonly name: string;
  readonly port: number;
  readonly protocol: 'HTTP' | 'HTTPS' | 'TLS' | 'TCP';
  /** Empty: any. */
  readonly hostname: string;
  readonly tls?: ListenerTls;
  readonly virtualHosts: readonly VirtualHost[];
  readonly l4Routes: readonly L4Route[];
}

export interface ListenerTls {
  readonly mode: 'TERMINATE' | 'PASSTHROUGH';
  /** PEM pairs; chosen by server name. */
  readonly certificates: readonly { readonly certificateChain: string; readonly privateKey: string }[];
  /** PEM; not empty: clients must present a certificate of these. */
  readonly clientCaCertificates: string;
}

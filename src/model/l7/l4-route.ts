/**
 * Routes of connections whose requests are not looked into: TCP, and TLS by server name.
 * Source: Gateway API TCPRoute and TLSRoute, Istio VirtualService `tcp` and `tls`.
 */
import type { IpRange } from '../address.ts';
import type { WeightedBackend } from './http-route.ts';

/** The first that fits is taken; none: the connection goes to the service itself. */
export interface L4Route {
  readonly name: string;
  /** `*.example.com` or a name, of a TLS ClientHello; empty: any connection, TLS or not. */
  readonly sniHosts: readonly string[];
  /** Addresses the client asked for; empty: any. */
  readonly destinations: readonly IpRange[];
  readonly sources: readonly IpRange[];
  readonly clientNamespaces: readonly string[];
  /** Chosen per connection; header modifiers do not apply. None with a weight: the connection is closed. */
  readonly backends: readonly WeightedBackend[];
}

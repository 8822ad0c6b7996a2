/** What one gateway (or waypoint) is told, and which objects ask for one. */
import type { NamespacedName } from '../model/address.ts';
import type {
  BoundService,
  BoundWorkload,
  Cluster,
  ClusterEndpoints,
  GatewayConfig,
  HttpAuthentication,
  HttpAuthorization,
  RateLimitPolicy,
} from '../model/l7/index.ts';

export interface GatewayResources {
  /** `namespace/name`. */
  readonly gateway: string;
  readonly config: GatewayConfig;
  readonly services: readonly BoundService[];
  readonly workloads: readonly BoundWorkload[];
  readonly clusters: readonly Cluster[];
  readonly endpoints: readonly ClusterEndpoints[];
  readonly authorizations: readonly HttpAuthorization[];
  readonly authentications: readonly HttpAuthentication[];
  readonly rateLimits: readonly RateLimitPolicy[];
}

/** An object that asks for a waypoint. */
export interface BoundObject extends NamespacedName {
  /** `<kind> <namespace>/<name>`. */
  readonly key: string;
  /** Its services (a ServiceEntry has one per host). */
  readonly hostnames: readonly string[];
  /** Gateways it asks for. */
  readonly wanted: readonly string[];
}

/** What has been told, for those who compile or look up: readonly, by key. */
import type {
  Cluster,
  ClusterEndpoints,
  GatewayConfig,
  HttpAuthentication,
  HttpAuthorization,
  RateLimitPolicy,
} from '../../model/l7/index.ts';

export interface ConfigView {
  readonly gateway: GatewayConfig | undefined;
  /** By `namespace/name`. A policy that is referred to and not there denies. */
  findAuthorization(key: string): HttpAuthorization | undefined;
  findAuthentication(key: string): HttpAuthentication | undefined;
  findRateLimit(key: string): RateLimitPolicy | undefined;
  /** By `namespace/hostname`. */
  findCluster(key: string): Cluster | undefined;
  findEndpoints(key: string): ClusterEndpoints | undefined;
}

/** Limits on requests: counted here, shared by the workers of a pod, or by a rate limit service. */
import type { HttpMatch } from './http-route.ts';

export interface RateLimitPolicy {
  readonly namespace: string;
  readonly name: string;
  readonly limits: readonly RateLimit[];
}

export interface RateLimit {
  /** Requests that are counted; absent: all. */
  readonly match?: HttpMatch;
  /** Requests with the same values share a budget. A key without a value: the limit does not apply. */
  readonly keys: readonly RateLimitKey[];
  readonly local?: TokenBucket;
  readonly global?: GlobalRateLimit;
}

export interface RateLimitKey {
  readonly kind:
    | 'ROUTE'
    | 'HEADER'
    | 'SOURCE_IDENTITY'
    | 'SOURCE_NAMESPACE'
    | 'REMOTE_IP'
    | 'METHOD'
    | 'PATH'
    | 'CLAIM';
  /** Header or claim. */
  readonly name: string;
}

/** `requests` per `intervalMs`, and `burst` at once. */
export interface TokenBucket {
  readonly requests: number;
  readonly intervalMs: number;
  readonly burst: number;
}

/** Asks `envoy.service.ratelimit.v3`; descriptors are made of the keys. */
export interface GlobalRateLimit {
  readonly cluster: string;
  readonly port: number;
  readonly domain: string;
  readonly timeoutMs: number;
  /** Lets requests through while the service does not answer. */
  readonly failOpen: boolean;
}

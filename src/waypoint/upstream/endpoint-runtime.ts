/**
 * What is kept for one endpoint of a cluster while configurations come and go: its load, its health as seen from here, and
 * its connections. Requests that run keep theirs when the endpoint is gone from the configuration.
 */
import type { Duplex } from 'node:stream';
import type { Pool } from 'undici';
import type { Cluster, TrafficPolicy, WaypointEndpoint } from '../../model/l7/index.ts';
import type { UpstreamDialer } from './dialer.ts';
import { callHttp1, openHttp1Pool } from './http1-call.ts';
import { callHttp1Raw, type RawCallHandler } from './http1-raw-call.ts';
import { Http2Pool } from './http2-call.ts';
import { FailureCounts } from './outlier-detection.ts';
import { type ProxiedConnection, proxyHeader } from './proxy-protocol.ts';
import { originateTls } from './tls-origination.ts';
import type { UpstreamCall, UpstreamRequest } from './upstream-call.ts';

export type UpstreamProtocol = 'HTTP1' | 'HTTP2';

export class EndpointRuntime {
  /** As it is configured now. */
  endpoint: WaypointEndpoint;
  /** Requests and connections under way. */
  active = 0;
  /** Not to be chosen before this, on the monotonic clock (outlier detection). */
  ejectedUntilMs = 0;
  readonly failures = new FailureCounts();
  /** When it answered last, on the monotonic clock. */
  answeredMs = Number.NEGATIVE_INFINITY;
  /** When it was first seen, for slow start. */
  readonly sinceMs: number;
  readonly #dialer: UpstreamDialer;
  readonly #http1 = new Map<string, Pool>();
  readonly #http2 = new Map<string, Http2Pool>();
  #dialing = new AbortController();
  #closed = false;

  constructor(endpoint: WaypointEndpoint, dialer: UpstreamDialer, nowMs: number) {
    this.endpoint = endpoint;
    this.#dialer = dialer;
    this.sinceMs = nowMs;
  }

  /** The port of this endpoint behind a port of the service; undefined when it has none. */
  targetPort(servicePort: number): number | undefined {
    for (const one of this.endpoint.ports) if (one.servicePort === servicePort) return one.targetPort;
    return undefined;
  }

  /** The caller owns the stream. Rejects as the dialer does. */
  async dial(target: EndpointTarget, signal?: AbortSignal): Promise<Duplex> {
    const { cluster, port, policy, protocol, client } = target;
    const { connectTimeoutMs } = policy.connectionPool;
    const stop = signal ? AbortSignal.any([signal, this.#dialing.signal]) : this.#dialing.signal;
    const stream = await this.#dialer.dial({ endpoint: this.endpoint, cluster, port, connectTimeoutMs }, stop);
    if (policy.proxyProtocol !== 'NONE') stream.write(proxyHeader(policy.proxyProtocol, client));
    if (!policy.tls) return stream;
    const { tls } = policy;
    const inTime = AbortSignal.any([stop, AbortSignal.timeout(connectTimeoutMs)]);
    const hostname = this.endpoint.hostname || cluster.hostname;
    return await originateTls(stream, { tls, hostname, alpn: protocol === 'HTTP2' ? 'h2' : undefined }, inTime);
  }

  call(target: EndpointTarget, request: UpstreamRequest, handler: RawCallHandler): UpstreamCall {
    if (target.protocol === 'HTTP2') return this.#http2Pool(target).call(request, handler);
    const isOwn = target.policy.proxyProtocol !== 'NONE'; // a connection says whose it is
    if (isOwn || request.expectsContinue || request.upgrade || request.headers.has('trailer')) {
      return callHttp1Raw(() => this.dial(target), request, handler);
    }
    return callHttp1(this.#http1Pool(target), request, handler);
  }

  /** It takes nothing new: who still waits for a connection to it may try another one. */
  stopDialing(): void {
    this.#dialing.abort();
    this.#dialing = new AbortController();
  }

  /** Opens nothing more; connections go when they are idle. */
  close(): void {
    this.#closed = true;
    this.stopDialing();
    for (const pool of this.#http1.values()) void pool.close();
    for (const pool of this.#http2.values()) pool.drain();
    this.#http1.clear();
    this.#http2.clear();
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  #http1Pool(target: EndpointTarget): Pool {
    const key = poolKey(target);
    const known = this.#http1.get(key);
    if (known) return known;
    const { maxConnections, maxRequestsPerConnection, httpIdleTimeoutMs } = target.policy.connectionPool;
    const pool = openHttp1Pool({
      dial: () => this.dial(target),
      maxConnections,
      maxRequestsPerConnection,
      idleTimeoutMs: httpIdleTimeoutMs,
    });
    if (this.#http1.size >= POOLS_MAX) closeOldest(this.#http1, (old) => void old.close());
    this.#http1.set(key, pool);
    return pool;
  }

  #http2Pool(target: EndpointTarget): Http2Pool {
    const key = poolKey(target);
    const known = this.#http2.get(key);
    if (known) return known;
    const { maxConcurrentStreams, httpIdleTimeoutMs } = target.policy.connectionPool;
    const pool = new Http2Pool({
      dial: () => this.dial(target),
      maxConcurrentStreams,
      idleTimeoutMs: httpIdleTimeoutMs,
    });
    if (this.#http2.size >= POOLS_MAX) closeOldest(this.#http2, (old) => old.drain());
    this.#http2.set(key, pool);
    return pool;
  }
}

export interface EndpointTarget {
  readonly cluster: Pick<Cluster, 'subjectAltNames' | 'hostname'>;
  /** The endpoint's own port. */
  readonly port: number;
  readonly protocol: UpstreamProtocol;
  readonly policy: TrafficPolicy;
  /** For the PROXY protocol. */
  readonly client?: ProxiedConnection;
}

/** Ports and policies that an endpoint is reached by; a policy that changes leaves its pool behind. */
const POOLS_MAX = 16;
const policyKeys = new WeakMap<TrafficPolicy, string>();

/** Connections are shared by what is sent to the same port under the same policy. */
function poolKey({ port, policy }: EndpointTarget): string {
  let key = policyKeys.get(policy);
  if (key === undefined) {
    const { connectionPool, tls, proxyProtocol } = policy;
    key = JSON.stringify([connectionPool, tls, proxyProtocol]);
    policyKeys.set(policy, key);
  }
  return `${port} ${key}`;
}

function closeOldest<P>(pools: Map<string, P>, close: (pool: P) => void): void {
  for (const [key, pool] of pools) {
    close(pool);
    pools.delete(key);
    return;
  }
}

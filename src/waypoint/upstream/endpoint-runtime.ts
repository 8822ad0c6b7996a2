/**
 * What is kept for one endpoint of a cluster while configurations come and go: its load, its health as seen from here, and
 * its connections. Requests that run keep theirs when the endpoint is gone from the configuration.
 */
import type { Duplex } from 'node:stream';
import type { Pool } from 'undici';
import type { Cluster, ConnectionPool, WaypointEndpoint } from '../../model/l7/index.ts';
import type { UpstreamDialer } from './dialer.ts';
import { callHttp1, openHttp1Pool } from './http1-call.ts';
import { callHttp1Raw, type RawCallHandler } from './http1-raw-call.ts';
import { Http2Pool } from './http2-call.ts';
import type { UpstreamCall, UpstreamRequest } from './upstream-call.ts';

export type UpstreamProtocol = 'HTTP1' | 'HTTP2';

export class EndpointRuntime {
  /** As it is configured now. */
  endpoint: WaypointEndpoint;
  /** Requests and connections under way. */
  active = 0;
  /** Not to be chosen before this, on the monotonic clock (outlier detection). */
  ejectedUntilMs = 0;
  /** When it answered last, on the monotonic clock. */
  answeredMs = Number.NEGATIVE_INFINITY;
  /** When it was first seen, for slow start. */
  readonly sinceMs: number;
  readonly #dialer: UpstreamDialer;
  readonly #http1 = new Map<number, Pool>();
  readonly #http2 = new Map<number, Http2Pool>();
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
  dial(target: EndpointTarget, signal?: AbortSignal): Promise<Duplex> {
    const { cluster, port, pool } = target;
    const { connectTimeoutMs } = pool;
    const stop = signal ? AbortSignal.any([signal, this.#dialing.signal]) : this.#dialing.signal;
    return this.#dialer.dial({ endpoint: this.endpoint, cluster, port, connectTimeoutMs }, stop);
  }

  call(target: EndpointTarget, request: UpstreamRequest, handler: RawCallHandler): UpstreamCall {
    if (target.protocol === 'HTTP2') return this.#http2Pool(target).call(request, handler);
    if (request.expectsContinue || request.upgrade || request.headers.has('trailer')) {
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
    const known = this.#http1.get(target.port);
    if (known) return known;
    const { maxConnections, maxRequestsPerConnection, httpIdleTimeoutMs } = target.pool;
    const pool = openHttp1Pool({
      dial: () => this.dial(target),
      maxConnections,
      maxRequestsPerConnection,
      idleTimeoutMs: httpIdleTimeoutMs,
    });
    this.#http1.set(target.port, pool);
    return pool;
  }

  #http2Pool(target: EndpointTarget): Http2Pool {
    const known = this.#http2.get(target.port);
    if (known) return known;
    const { maxConcurrentStreams, httpIdleTimeoutMs } = target.pool;
    const pool = new Http2Pool({
      dial: () => this.dial(target),
      maxConcurrentStreams,
      idleTimeoutMs: httpIdleTimeoutMs,
    });
    this.#http2.set(target.port, pool);
    return pool;
  }
}

export interface EndpointTarget {
  readonly cluster: Pick<Cluster, 'subjectAltNames'>;
  /** The endpoint's own port. */
  readonly port: number;
  readonly protocol: UpstreamProtocol;
  readonly pool: ConnectionPool;
}

/**
 * Sends an exchange on: chooses the backend, the endpoint, tries again where that is allowed, and streams the answer back.
 *
 * Invariants
 *  - Once a byte of an answer was sent to the client there is no further try; what breaks then is told as broken.
 *  - A client that is gone ends what was done for it.
 *  - Every exchange ends in exactly one `done`.
 */
import type { Duplex } from 'node:stream';
import type { Clock } from '../core/clock.ts';
import type { HttpRoute, RetryPolicy, WeightedBackend } from '../model/l7/index.ts';
import { modifyHeaders } from './filters/header-modifiers.ts';
import type { Exchange } from './http/exchange.ts';
import type { HeaderList } from './http/header-list.ts';
import { hasHopByHop, removeHopByHop } from './http/hop-by-hop.ts';
import { joinStreams } from './http/join-streams.ts';
import { CLUSTER_NOT_FOUND, NO_HEALTHY_UPSTREAM, REQUEST_TIMEOUT, type Reply, upstreamFailed } from './http/reply.ts';
import { hostOf } from './match/route-table.ts';
import { mirrorRequest } from './mirror.ts';
import type { EndpointAdmission } from './policy/endpoint-admission.ts';
import { pickBackend, proxied, upstreamProtocol } from './upstream/backend.ts';
import type { ClusterRuntime, EndpointSet } from './upstream/cluster-runtime.ts';
import type { EndpointRuntime } from './upstream/endpoint-runtime.ts';
import type { RawCallHandler } from './upstream/http1-raw-call.ts';
import { resultOf, type TryResult } from './upstream/outlier-detection.ts';
import { ReplayBody } from './upstream/replay-body.ts';
import { backoffMs, DEFAULT_RETRY, isRetriable, type TryOutcome } from './upstream/retry.ts';
import { markSession, requestHash, sessionEndpoint } from './upstream/stickiness.ts';
import type { UpstreamCall, UpstreamError } from './upstream/upstream-call.ts';

/** How long a request waits for the successor of an endpoint that is ending, and how often it looks. */
const ANOTHER_WAIT_MS = 1_000;
const ANOTHER_POLL_MS = 25;
/** An endpoint that answered within this time and refuses now is ending. */
const ENDING_MS = 10_000;

export interface RouterDeps {
  readonly findCluster: (key: string) => ClusterRuntime | undefined;
  /** Policies that select the chosen endpoint. */
  readonly admission: EndpointAdmission;
  readonly clock: Clock;
  readonly random: () => number;
}

/** How an answer goes back; the shell around the filters. */
export interface AnswerSink {
  /** The head of the endpoint's answer: filters run, then it is sent. */
  head(status: number, headers: HeaderList, end: boolean): void;
  reply(reply: Reply): void;
  /** All is sent, or broken. */
  done(): void;
}

/** Starts; the sink hears the rest. `exchange.route` forwards. */
export function forward(exchange: Exchange, route: HttpRoute, { deps, sink }: { deps: RouterDeps; sink: AnswerSink }) {
  if (route.action.kind !== 'FORWARD') return sink.reply(CLUSTER_NOT_FOUND);
  const backend = pickBackend(route.action.backends, deps.random);
  if (!backend) return sink.reply({ status: 500, body: '', flag: 'NC', details: 'cluster_not_found' });
  if (backend.failStatus !== 0) {
    return sink.reply({ status: backend.failStatus, body: '', flag: 'NC', details: 'cluster_not_found' });
  }
  const cluster = deps.findCluster(backend.cluster);
  const set = cluster?.find(backend.port, backend.subset);
  exchange.cluster = backend.cluster;
  exchange.clusterPort = backend.port;
  exchange.subset = backend.subset;
  if (!cluster || !set) return sink.reply(CLUSTER_NOT_FOUND);
  const isHttp1 = upstreamProtocol(set, exchange.downstream.protocol, exchange.isGrpc) === 'HTTP1';
  if (!set.load.mayRequest(set.policy, isHttp1)) return sink.reply(upstreamFailed('overflow', ''));
  if (route.mirrors.length > 0) mirrorRequest(exchange, route.mirrors, deps);
  new Forwarding(exchange, { route, backend, cluster, set }, { deps, sink }).start();
}

interface Destination {
  readonly route: HttpRoute;
  readonly backend: WeightedBackend;
  readonly cluster: ClusterRuntime;
  readonly set: EndpointSet;
}

/** One request on its way to endpoints of one cluster. */
class Forwarding implements RawCallHandler {
  readonly #exchange: Exchange;
  readonly #destination: Destination;
  readonly #deps: RouterDeps;
  readonly #sink: AnswerSink;
  readonly #retry: RetryPolicy;
  readonly #body: ReplayBody | undefined;
  readonly #isUpgrade: boolean;
  readonly #tried = new Set<EndpointRuntime>();
  #endpoint: EndpointRuntime | undefined;
  #call: UpstreamCall | undefined;
  #timer: NodeJS.Timeout | undefined;
  #tryTimer: NodeJS.Timeout | undefined;
  #backoff: NodeJS.Timeout | undefined;
  readonly #hash: number | undefined;
  readonly #session: string | undefined;
  #isRetrying = false;
  #waitsUntilMs: number | undefined;
  #answering = false;
  #over = false;

  constructor(exchange: Exchange, destination: Destination, { deps, sink }: { deps: RouterDeps; sink: AnswerSink }) {
    this.#exchange = exchange;
    this.#destination = destination;
    this.#deps = deps;
    this.#sink = sink;
    const { route, set } = destination;
    this.#retry = route.retry ?? DEFAULT_RETRY;
    const { hash } = set.policy.loadBalancer;
    this.#hash = hash.length > 0 ? requestHash(hash, exchange) : undefined;
    this.#session = route.sessionPersistence && sessionEndpoint(route.sessionPersistence, exchange);
    const { downstream } = exchange;
    this.#body = downstream.body && new ReplayBody(downstream.body);
    this.#isUpgrade = exchange.headers.has('upgrade') && downstream.protocol === 'HTTP/1.1';
  }

  start(): void {
    const { route, backend, set } = this.#destination;
    const { downstream, headers } = this.#exchange;
    set.load.requests += 1;
    removeHopByHop(headers, this.#isUpgrade);
    modifyHeaders(headers, backend.requestHeaders);
    if (route.timeoutMs > 0) this.#timer = setTimeout(() => this.#timedOut(), route.timeoutMs);
    downstream.onAbort(() => this.#clientGone());
    downstream.onDrain(() => this.#call?.resume());
    this.#try();
  }

  onContinue(): void {
    if (!this.#over) this.#exchange.downstream.sendContinue();
  }

  onInterim(status: number, headers: HeaderList): void {
    if (!this.#over && status !== 101) this.#exchange.downstream.sendInterim(status, headers);
  }

  onHead(status: number, headers: HeaderList): void {
    if (this.#over) return;
    clearTimeout(this.#tryTimer);
    const grpcStatus = headers.get('grpc-status');
    this.#note(grpcStatus === '14' ? 'GATEWAY_ERROR' : resultOf(status));
    if (this.#mayRetry({ kind: 'status', status, grpcStatus })) {
      this.#call?.abort();
      this.#again();
      return;
    }
    this.#answering = true;
    this.#body?.commit();
    this.#exchange.respondedMs = this.#deps.clock.monotonicMs();
    if (this.#endpoint) this.#endpoint.answeredMs = this.#exchange.respondedMs;
    if (hasHopByHop(headers)) removeHopByHop(headers, false);
    modifyHeaders(headers, this.#destination.backend.responseHeaders);
    this.#exchange.grpcStatus = grpcStatus;
    this.#stick(headers);
    try {
      this.#sink.head(status, headers, false);
    } catch {
      // a header that may not be sent on
      this.#call?.abort();
      this.#answering = false;
      this.#reply(upstreamFailed('remote_reset', 'protocol error'));
    }
  }

  onData(chunk: Uint8Array): boolean {
    if (this.#over) return true;
    this.#exchange.bytesSent += chunk.length;
    return this.#exchange.downstream.write(chunk);
  }

  onEnd(trailers: HeaderList | undefined): void {
    if (this.#over) return;
    const grpcStatus = trailers?.get('grpc-status');
    if (grpcStatus !== undefined) this.#exchange.grpcStatus = grpcStatus;
    this.#exchange.responseTrailers = trailers;
    this.#exchange.downstream.end(trailers);
    this.#finish();
  }

  onError(error: UpstreamError): void {
    if (this.#over) return;
    clearTimeout(this.#tryTimer);
    this.#note(error.failure === 'remote_connection_failure' ? 'LOCAL' : 'GATEWAY_ERROR');
    if (this.#answering) {
      this.#exchange.flag = error.failure === 'remote_reset' ? 'UR' : 'UC';
      this.#exchange.details = `upstream_reset_after_response_started{${error.failure}}`;
      this.#exchange.downstream.reset();
      this.#finish();
      return;
    }
    const replayable = ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'].includes(this.#exchange.method);
    if (this.#mayRetry({ kind: 'error', error, replayable })) this.#again();
    else if (this.#mayWaitForAnother(error)) this.#backoff = setTimeout(() => this.#tryAnother(error), ANOTHER_POLL_MS);
    else this.#reply(upstreamFailed(error.failure, error.message));
  }

  onUpgrade(status: number, headers: HeaderList, stream: Duplex, first: Buffer): void {
    if (this.#over) return void stream.destroy();
    const { downstream } = this.#exchange;
    this.#answering = true;
    removeHopByHop(headers, true);
    this.#exchange.respondedMs = this.#deps.clock.monotonicMs();
    this.#sink.head(status, headers, false);
    clearTimeout(this.#timer);
    const client = downstream.upgraded?.();
    if (!client) {
      stream.destroy();
      this.#finish();
      return;
    }
    if (first.length > 0) client.write(first);
    joinStreams(client, stream, () => this.#finish());
  }

  #try(): void {
    const { cluster, backend } = this.#destination;
    // looked up for every try: the endpoints may have changed since the last
    const set = cluster.find(backend.port, backend.subset) ?? this.#destination.set;
    const avoid = this.#retry.avoidPreviousHosts ? this.#tried : undefined;
    const { requestAuthority, client } = this.#exchange;
    const options = { ...(avoid ? { avoid } : {}), hash: this.#hash, session: this.#session };
    const endpoint = cluster.pick(set, options) ?? cluster.named(hostOf(requestAuthority), client.destinationIp);
    if (!endpoint) {
      this.#reply(NO_HEALTHY_UPSTREAM);
      return;
    }
    const port = endpoint.targetPort(set.port.port);
    if (port === undefined) {
      this.#reply(NO_HEALTHY_UPSTREAM);
      return;
    }
    const admitted = this.#deps.admission.request(this.#exchange, endpoint, port);
    if (admitted === undefined) this.#send(set, endpoint, port);
    else if (!(admitted instanceof Promise)) this.#deny(endpoint, admitted);
    else {
      admitted.then(
        (reply) => {
          if (this.#over) return;
          if (reply) this.#deny(endpoint, reply);
          else this.#send(set, endpoint, port);
        },
        (error: unknown) => this.#over || this.#reply(upstreamFailed('remote_connection_failure', String(error))),
      );
    }
  }

  /** The endpoint's own policies refuse; another endpoint is not tried. */
  #deny(endpoint: EndpointRuntime, reply: Reply): void {
    this.#exchange.endpoint = endpoint;
    this.#release();
    this.#sink.reply(reply);
  }

  #send(set: EndpointSet, endpoint: EndpointRuntime, port: number): void {
    const { route } = this.#destination;
    const exchange = this.#exchange;
    exchange.attempts += 1;
    exchange.endpoint = endpoint;
    exchange.upstreamStartedMs = this.#deps.clock.monotonicMs();
    this.#leave();
    this.#endpoint = endpoint;
    endpoint.active += 1;
    this.#tried.add(endpoint);
    const perTryMs = this.#retry.perTryTimeoutMs;
    if (perTryMs > 0 && (route.timeoutMs === 0 || perTryMs < route.timeoutMs)) {
      this.#tryTimer = setTimeout(() => this.#tryTimedOut(), perTryMs);
    }
    const { downstream } = exchange;
    this.#call = endpoint.call(
      {
        cluster: set.cluster,
        port,
        protocol: upstreamProtocol(set, downstream.protocol, exchange.isGrpc),
        policy: set.policy,
        client: proxied(exchange.client),
      },
      {
        method: exchange.method,
        target: exchange.path + exchange.query,
        authority: exchange.authority,
        headers: exchange.headers,
        body: this.#body?.open(),
        trailers: () => downstream.trailers(),
        expectsContinue: downstream.expectsContinue,
        upgrade: this.#isUpgrade,
      },
      this,
    );
  }

  #mayRetry(outcome: TryOutcome): boolean {
    if (this.#answering || this.#exchange.attempts > this.#retry.attempts) return false;
    if (this.#body && !this.#body.canReplay) return false;
    if (!isRetriable(this.#retry, outcome)) return false;
    const { load, policy } = this.#destination.set;
    return this.#isRetrying || load.mayRetry(policy);
  }

  #note(result: TryResult): void {
    const { cluster, set } = this.#destination;
    if (this.#endpoint) cluster.note(set, this.#endpoint, result);
  }

  /** Marks a session that is new, or whose endpoint is another one now. */
  #stick(headers: HeaderList): void {
    const { sessionPersistence } = this.#destination.route;
    const uid = this.#endpoint?.endpoint.uid;
    if (sessionPersistence && uid !== undefined && uid !== this.#session) markSession(sessionPersistence, uid, headers);
    for (const cookie of this.#exchange.setCookies) headers.append('set-cookie', cookie);
  }

  #again(): void {
    this.#call = undefined;
    this.#leave();
    if (!this.#isRetrying) this.#destination.set.load.retries += 1;
    this.#isRetrying = true;
    const delayMs = backoffMs(this.#retry, this.#exchange.attempts, this.#deps.random());
    this.#backoff = setTimeout(() => this.#try(), delayMs);
  }

  /**
   * An endpoint that answered a moment ago and now refuses connections is ending, and its successor is about to be told.
   * Nothing was sent: the request waits a little for an endpoint that has not been tried.
   */
  #mayWaitForAnother({ notSent }: UpstreamError): boolean {
    const endpoint = this.#exchange.endpoint;
    if (!notSent || !endpoint || (this.#body && !this.#body.canReplay)) return false;
    const nowMs = this.#deps.clock.monotonicMs();
    this.#waitsUntilMs ??= nowMs + ANOTHER_WAIT_MS;
    return nowMs < this.#waitsUntilMs && nowMs - endpoint.answeredMs < ENDING_MS;
  }

  #tryAnother(error: UpstreamError): void {
    const { cluster, backend } = this.#destination;
    const endpoints = cluster.find(backend.port, backend.subset)?.endpoints ?? [];
    if (endpoints.some((one) => !this.#tried.has(one))) this.#try();
    else if (this.#mayWaitForAnother(error)) {
      this.#backoff = setTimeout(() => this.#tryAnother(error), ANOTHER_POLL_MS);
    } else this.#reply(upstreamFailed(error.failure, error.message));
  }

  #tryTimedOut(): void {
    if (this.#over || this.#answering) return;
    this.#call?.abort();
    this.#note('GATEWAY_ERROR');
    if (this.#mayRetry({ kind: 'timeout' })) this.#again();
    else this.#reply(REQUEST_TIMEOUT);
  }

  #timedOut(): void {
    if (this.#over) return;
    this.#call?.abort();
    if (!this.#answering) {
      this.#reply(REQUEST_TIMEOUT);
      return;
    }
    this.#exchange.flag = 'UT';
    this.#exchange.details = 'response_timeout';
    this.#exchange.downstream.reset();
    this.#finish();
  }

  #clientGone(): void {
    if (this.#over) return;
    this.#call?.abort();
    this.#exchange.flag = 'DC';
    this.#exchange.details = 'downstream_remote_disconnect';
    this.#finish();
  }

  #reply(reply: Reply): void {
    const isLast = this.#exchange.attempts > 1 && reply.flag !== 'UH';
    this.#release();
    this.#sink.reply(isLast ? { ...reply, flag: `${reply.flag},URX` } : reply);
  }

  #finish(): void {
    this.#release();
    this.#sink.done();
  }

  #release(): void {
    if (this.#over) return;
    this.#over = true;
    const { load } = this.#destination.set;
    load.requests -= 1;
    if (this.#isRetrying) load.retries -= 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#tryTimer);
    clearTimeout(this.#backoff);
    this.#leave();
  }

  #leave(): void {
    if (this.#endpoint) this.#endpoint.active -= 1;
    this.#endpoint = undefined;
  }
}

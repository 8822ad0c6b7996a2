/**
 * One request and its answer on their way through the filters. Filters read and change it; the router sends it on.
 */
import type { Identity } from '../../model/identity.ts';
import type { HttpRoute } from '../../model/l7/index.ts';
import type { RoutedRequest } from '../match/route-table.ts';
import type { EndpointRuntime } from '../upstream/endpoint-runtime.ts';
import type { Downstream } from './downstream.ts';
import type { HeaderList } from './header-list.ts';
import type { RequestPath } from './request-path.ts';

/** Who sends, proven by the tunnel's certificate. The same for all requests of one tunnel. */
export interface ClientFacts {
  readonly identity: Identity;
  /** SPIFFE id without its scheme. */
  readonly principal: string;
  readonly ip: string;
  readonly port: number;
  /** What the client asked for: CONNECT's authority. */
  readonly destinationIp: string;
  readonly destinationPort: number;
}

export interface RequestHead {
  readonly method: string;
  readonly target: RequestPath;
  readonly authority: string;
  readonly headers: HeaderList;
}

export class Exchange implements RoutedRequest {
  readonly downstream: Downstream;
  readonly client: ClientFacts;
  readonly method: string;
  readonly headers: HeaderList;
  /** Normalised; a rewrite changes it. */
  path: string;
  query: string;
  /** Host as the endpoint will see it. */
  authority: string;
  /** As they were sent, for logs. */
  readonly requestPath: string;
  readonly requestAuthority: string;
  readonly scheme: string;
  readonly isGrpc: boolean;
  readonly startedMs: number;

  route: HttpRoute | undefined;
  /** The endpoint of the last try. */
  endpoint: EndpointRuntime | undefined;
  /** Key of the cluster of the last try, and its port and subset. */
  cluster = '';
  clusterPort = 0;
  subset = '';
  attempts = 0;

  /** Of the answer; filters may change the headers before they are sent. */
  status = 0;
  responseHeaders: HeaderList | undefined;
  responseTrailers: HeaderList | undefined;
  flag = '';
  details = '';
  grpcStatus: string | undefined;
  bytesReceived = 0;
  bytesSent = 0;
  /** When the endpoint answered, on the monotonic clock. */
  respondedMs = 0;
  upstreamStartedMs = 0;
  /** Cookies that the waypoint makes, for the answer. */
  readonly setCookies: string[] = [];
  /** What filters tell each other: `jwt`, `ext_authz`, ... */
  readonly metadata = new Map<string, unknown>();

  constructor(downstream: Downstream, client: ClientFacts, head: RequestHead, startedMs: number) {
    const { method, target, authority, headers } = head;
    this.downstream = downstream;
    this.client = client;
    this.method = method;
    this.headers = headers;
    this.path = target.path;
    this.query = target.query;
    this.authority = authority;
    this.requestPath = target.path + target.query;
    this.requestAuthority = authority;
    this.scheme = headers.get('x-forwarded-proto') ?? 'http';
    this.isGrpc = headers.get('content-type')?.startsWith('application/grpc') ?? false;
    this.startedMs = startedMs;
  }

  get clientNamespace(): string {
    return this.client.identity.namespace;
  }
}

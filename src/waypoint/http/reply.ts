/** An answer that the waypoint gives itself, with the words and flags that logs and metrics show. Source: Envoy. */
import { HeaderList } from './header-list.ts';

export interface Reply {
  readonly status: number;
  readonly body: string;
  readonly headers?: HeaderList;
  /** `response_flags`: `NR`, `UF`, ...; empty: none. */
  readonly flag: string;
  /** `response_code_details`. */
  readonly details: string;
  /** Instead of the one that fits the status. */
  readonly grpcStatus?: number;
}

/** gRPC status by HTTP status, for clients that speak gRPC. Source: gRPC, "HTTP to gRPC Status Code Mapping". */
const GRPC_STATUS: ReadonlyMap<number, number> = new Map([
  [400, 13],
  [401, 16],
  [403, 7],
  [404, 12],
  [429, 14],
  [502, 14],
  [503, 14],
  [504, 4],
]);

export function toGrpcStatus({ status, grpcStatus }: Pick<Reply, 'status' | 'grpcStatus'>): number {
  return grpcStatus ?? GRPC_STATUS.get(status) ?? 2;
}

/** Headers of a reply; for gRPC a trailers-only answer with status 200. */
export function replyHead(reply: Reply, isGrpc: boolean): { readonly status: number; readonly headers: HeaderList } {
  const headers = reply.headers?.copy() ?? new HeaderList();
  if (isGrpc) {
    headers.set('content-type', 'application/grpc');
    headers.set('grpc-status', String(toGrpcStatus(reply)));
    if (reply.body !== '') headers.set('grpc-message', encodeURIComponent(reply.body).replaceAll('%20', ' '));
    return { status: 200, headers };
  }
  if (reply.body !== '' && !headers.has('content-type')) headers.set('content-type', 'text/plain');
  headers.set('content-length', String(Buffer.byteLength(reply.body)));
  return { status: reply.status, headers };
}

const upstreamText = 'upstream connect error or disconnect/reset before headers. reset reason: ';

export const ROUTE_NOT_FOUND: Reply = { status: 404, body: '', flag: 'NR', details: 'route_not_found' };
export const CLUSTER_NOT_FOUND: Reply = { status: 503, body: '', flag: 'NC', details: 'cluster_not_found' };
export const NO_HEALTHY_UPSTREAM: Reply = {
  status: 503,
  body: 'no healthy upstream',
  flag: 'UH',
  details: 'no_healthy_upstream',
};
export const REQUEST_TIMEOUT: Reply = {
  status: 504,
  body: 'upstream request timeout',
  flag: 'UT',
  details: 'response_timeout',
};
export const BAD_REQUEST: Reply = { status: 400, body: 'Bad Request', flag: 'DPE', details: 'http1.codec_error' };

/** Why an endpoint did not answer, in Envoy's words. */
export type UpstreamFailure = 'remote_connection_failure' | 'connection_termination' | 'remote_reset' | 'overflow';

const FAILURE_FLAGS: Readonly<Record<UpstreamFailure, string>> = {
  remote_connection_failure: 'UF',
  connection_termination: 'UC',
  remote_reset: 'UR',
  overflow: 'UO',
};

export function upstreamFailed(failure: UpstreamFailure, cause: string): Reply {
  const words = failure.replaceAll('_', ' ');
  const overload = failure === 'overflow' ? { headers: new HeaderList(['x-envoy-overloaded', 'true']) } : {};
  return {
    status: 503,
    body: `${upstreamText}${words}`,
    flag: FAILURE_FLAGS[failure],
    details: `upstream_reset_before_response_started{${failure}${cause === '' ? '' : `|${cause}`}}`,
    ...overload,
  };
}

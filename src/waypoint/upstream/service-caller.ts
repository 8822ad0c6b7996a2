/**
 * Calls a service on the waypoint's own account (external authorization, rate limits, collectors), on the same way as
 * requests go: an endpoint of a cluster, over HBONE where it speaks it.
 *
 * Every call has a deadline and its answer a largest size; what breaks either rejects. Nothing is retried.
 */
import { Readable } from 'node:stream';
import { MeshError } from '../../core/errors.ts';
import { HeaderList } from '../http/header-list.ts';
import type { ClusterRuntime } from './cluster-runtime.ts';
import type { UpstreamCall } from './upstream-call.ts';

export interface ServiceCall {
  /** Key of the cluster. */
  readonly cluster: string;
  readonly port: number;
  readonly protocol: 'HTTP1' | 'HTTP2';
  readonly method: string;
  readonly target: string;
  readonly authority: string;
  readonly headers: HeaderList;
  readonly body: Buffer | undefined;
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

export interface ServiceAnswer {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: Buffer;
  readonly trailers: HeaderList | undefined;
}

/** Rejects with ERR_NOT_FOUND, ERR_TIMEOUT, ERR_LIMIT or ERR_DIAL. */
export type CallService = (call: ServiceCall) => Promise<ServiceAnswer>;

export function serviceCaller(findCluster: (key: string) => ClusterRuntime | undefined): CallService {
  return (call) => callService(findCluster(call.cluster), call);
}

function callService(cluster: ClusterRuntime | undefined, call: ServiceCall): Promise<ServiceAnswer> {
  const set = cluster?.find(call.port, '');
  const endpoint = set && cluster?.pick(set);
  const port = endpoint?.targetPort(call.port);
  if (!set || !endpoint || port === undefined) {
    return Promise.reject(new MeshError('ERR_NOT_FOUND', `no endpoint of ${call.cluster} port ${call.port}`));
  }
  const { promise, resolve, reject } = Promise.withResolvers<ServiceAnswer>();
  const chunks: Uint8Array[] = [];
  let size = 0;
  let head: { readonly status: number; readonly headers: HeaderList } | undefined;
  let running: UpstreamCall | undefined;
  const fail = (error: MeshError): void => {
    clearTimeout(timer);
    running?.abort();
    reject(error);
  };
  const timer = setTimeout(() => {
    fail(new MeshError('ERR_TIMEOUT', `no answer of ${call.cluster} in ${call.timeoutMs} ms`));
  }, call.timeoutMs);
  running = endpoint.call(
    { cluster: set.cluster, port, protocol: call.protocol, policy: set.policy },
    {
      method: call.method,
      target: call.target,
      authority: call.authority,
      headers: call.headers,
      body: call.body && Readable.from([call.body], { objectMode: false }),
      trailers: () => undefined,
      expectsContinue: false,
      upgrade: false,
    },
    {
      onContinue: () => {},
      onInterim: () => {},
      onUpgrade: (_status, _headers, stream) => stream.destroy(),
      onHead(status, headers) {
        head = { status, headers };
      },
      onData(chunk) {
        size += chunk.length;
        if (size > call.maxBytes) fail(new MeshError('ERR_LIMIT', `answer of ${call.cluster} is too large`));
        else chunks.push(chunk);
        return true;
      },
      onEnd(trailers) {
        clearTimeout(timer);
        const { status = 0, headers = new HeaderList() } = head ?? {};
        resolve({ status, headers, body: Buffer.concat(chunks), trailers });
      },
      onError: (cause) => fail(new MeshError('ERR_DIAL', cause.message, { cause })),
    },
  );
  return promise;
}

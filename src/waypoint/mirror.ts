/**
 * Copies of requests to other backends: their answers are thrown away, and nothing about the original waits for them.
 * A copy has the request's body as far as it fits; one that is larger is not copied, so that memory has a bound.
 * Source: Gateway API RequestMirror, Istio mirror (the host gets `-shadow`).
 */
import { Readable } from 'node:stream';
import type { Mirror, TrafficPolicy } from '../model/l7/index.ts';
import type { Exchange } from './http/exchange.ts';
import type { EndpointAdmission } from './policy/endpoint-admission.ts';
import type { ClusterRuntime } from './upstream/cluster-runtime.ts';
import type { RawCallHandler } from './upstream/http1-raw-call.ts';

export interface MirrorDeps {
  readonly findCluster: (key: string) => ClusterRuntime | undefined;
  readonly admission: EndpointAdmission;
  readonly random: () => number;
}

const MAX_BODY_BYTES = 64 * 1024;
const TIMEOUT_MS = 15_000;
/** Copies under way at once, of all routes. */
const MAX_COPIES = 1_024;
let copies = 0;

/** Starts the copies of a request that is about to be sent on. Never throws. */
export function mirrorRequest(exchange: Exchange, mirrors: readonly Mirror[], deps: MirrorDeps): void {
  const chosen = mirrors.filter(({ percent }) => percent >= 100 || deps.random() * 100 < percent);
  if (chosen.length === 0) return;
  const { body } = exchange.downstream;
  const request = { method: exchange.method, target: exchange.path + exchange.query };
  const headers = exchange.headers.copy();
  const authority = shadowOf(exchange.authority);
  const send = (bytes: Buffer | undefined): void => {
    for (const mirror of chosen)
      sendCopy(mirror, { ...request, exchange, authority, headers: headers.copy(), bytes }, deps);
  };
  if (!body) {
    send(undefined);
    return;
  }
  const parts: Buffer[] = [];
  let size = 0;
  body.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= MAX_BODY_BYTES) parts.push(chunk);
    else parts.length = 0;
  });
  body.once('end', () => {
    if (size <= MAX_BODY_BYTES) send(Buffer.concat(parts));
  });
}

/** The host that an endpoint sees: it can tell copies from requests. */
function shadowOf(authority: string): string {
  const colon = authority.lastIndexOf(':');
  return colon < 0 || authority.endsWith(']')
    ? `${authority}-shadow`
    : `${authority.slice(0, colon)}-shadow${authority.slice(colon)}`;
}

interface Copy {
  readonly exchange: Exchange;
  readonly method: string;
  readonly target: string;
  readonly authority: string;
  readonly headers: Exchange['headers'];
  readonly bytes: Buffer | undefined;
}

/** What selects the endpoint decides about copies as well; who has to be asked outside is not asked for a copy. */
function sendCopy({ backend }: Mirror, { exchange, ...copy }: Copy, { findCluster, admission }: MirrorDeps): void {
  const cluster = findCluster(backend.cluster);
  const set = cluster?.find(backend.port, backend.subset);
  const endpoint = cluster && set && cluster.pick(set);
  const port = endpoint?.targetPort(backend.port);
  if (!set || !endpoint || port === undefined || copies >= MAX_COPIES) return;
  if (admission.request(exchange, endpoint, port) !== undefined) return;
  copies += 1;
  endpoint.active += 1;
  let isOver = false;
  const finish = (): void => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    copies -= 1;
    endpoint.active -= 1;
  };
  const handler: RawCallHandler = {
    onContinue: () => {},
    onInterim: () => {},
    onHead: () => {},
    onData: () => true,
    onEnd: finish,
    onError: finish,
    onUpgrade: (_status, _headers, stream) => {
      stream.destroy();
      finish();
    },
  };
  const { bytes } = copy;
  const protocol = isHttp2(set.port.protocol, set.policy) ? 'HTTP2' : 'HTTP1';
  const call = endpoint.call(
    { cluster: set.cluster, port, protocol, policy: set.policy },
    {
      ...copy,
      body: bytes && Readable.from([bytes], { objectMode: false }),
      trailers: () => undefined,
      expectsContinue: false,
      upgrade: false,
    },
    handler,
  );
  const timer = setTimeout(() => {
    call.abort();
    finish();
  }, TIMEOUT_MS);
  timer.unref();
}

function isHttp2(protocol: string, { connectionPool }: TrafficPolicy): boolean {
  return protocol === 'HTTP2' || protocol === 'GRPC' || connectionPool.upgrade === 'HTTP2';
}

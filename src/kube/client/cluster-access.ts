/**
 * Where the API server is and what proves who asks: a kubeconfig file, or what Kubernetes gives every pod.
 *
 * The client library knows every way of proving (exec plugins, identity providers, proxies). It is loaded only where the
 * usual ways (`direct-access.ts`) do not do.
 */
import { type Dispatcher, request } from 'undici';
import { errorMessage, MeshError } from '../../core/errors.ts';
import { type DirectAccess, kubeconfigAccess, podAccess } from './direct-access.ts';

export type ClusterLocation =
  | { readonly kind: 'kubeconfig'; readonly file: string }
  /** From inside a pod: the address that Kubernetes gives, and the account's folder. */
  | { readonly kind: 'in-cluster'; readonly host: string; readonly port: string; readonly accountDir: string };

export interface ApiCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal;
  /** The longest silence within the answer. */
  readonly silenceMs: number;
}

/** Sends one call with fresh credentials; the receiver reads or destroys the body. */
export type ApiTransport = (call: ApiCall) => Promise<Dispatcher.ResponseData>;

const HEADERS_TIMEOUT_MS = 30_000;
const SHARED_FOR_MS = 60_000;

/** Throws ERR_CONFIG when the location cannot be used. Does not connect. */
export async function openTransport(location: ClusterLocation): Promise<ApiTransport> {
  if (location.kind === 'in-cluster') {
    const { host, port, accountDir } = location;
    return directTransport(await podAccess(host, port, accountDir));
  }
  const access = await kubeconfigAccess(location.file);
  return access ? directTransport(access) : libraryTransport(location.file);
}

function directTransport({ server, dispatcher, authorization }: DirectAccess): ApiTransport {
  return async (call) => {
    const header = await authorization();
    return send(server, call, dispatcher, header === undefined ? {} : { authorization: header });
  };
}

/** By the client library, which knows every kind of user. */
async function libraryTransport(file: string): Promise<ApiTransport> {
  const { KubeConfig, RequestContext, HttpMethod } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  try {
    config.loadFromFile(file);
  } catch (cause) {
    throw new MeshError('ERR_CONFIG', `cannot use the cluster's configuration: ${errorMessage(cause)}`, { cause });
  }
  const server = config.getCurrentCluster()?.server?.replace(/\/+$/, '');
  if (server === undefined) throw new MeshError('ERR_CONFIG', 'the kubeconfig names no current cluster');
  // The library makes connections of their own for every call; calls of a minute share those of the first.
  let shared: { readonly dispatcher: Dispatcher | undefined; readonly untilMs: number } | undefined;
  return async (call) => {
    const context = new RequestContext(`${server}${call.path}`, HttpMethod[call.method]);
    await config.applySecurityAuthentication(context);
    const nowMs = performance.now();
    if (!shared || nowMs >= shared.untilMs) {
      shared?.dispatcher?.close().catch(() => undefined); // open watches go on until they end
      const dispatcher = context.getDispatcher() as unknown as Dispatcher | undefined;
      shared = { dispatcher, untilMs: nowMs + SHARED_FOR_MS };
    }
    return send(server, call, shared.dispatcher, context.getHeaders());
  };
}

function send(
  server: string,
  { method, path, query = {}, body, contentType, signal, silenceMs }: ApiCall,
  dispatcher: Dispatcher | undefined,
  credentials: Readonly<Record<string, string>>,
): Promise<Dispatcher.ResponseData> {
  const headers = { ...credentials, accept: 'application/json', 'user-agent': 'culvert' };
  return request(`${server}${path}`, {
    ...{ method, query, headersTimeout: HEADERS_TIMEOUT_MS, bodyTimeout: silenceMs },
    headers: contentType === undefined ? headers : { ...headers, 'content-type': contentType },
    ...(dispatcher ? { dispatcher } : {}),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal ? { signal } : {}),
  });
}

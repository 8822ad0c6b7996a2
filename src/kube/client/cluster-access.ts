/**
 * Where the API server is and what proves who asks: a kubeconfig file, or what Kubernetes gives every pod.
 *
 * The client library knows the ways of proving (token files that are renewed, client certificates, exec plugins). It is
 * loaded when a cluster is really used: programs over a directory never pay for it.
 */
import { type Dispatcher, request } from 'undici';
import { errorMessage, MeshError } from '../../core/errors.ts';

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

/** Throws ERR_CONFIG when the location cannot be used. Does not connect. */
export async function openTransport(location: ClusterLocation): Promise<ApiTransport> {
  const { KubeConfig, RequestContext, HttpMethod } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  try {
    if (location.kind === 'kubeconfig') config.loadFromFile(location.file);
    else config.loadFromOptions(inClusterOptions(location));
  } catch (cause) {
    throw new MeshError('ERR_CONFIG', `cannot use the cluster's configuration: ${errorMessage(cause)}`, { cause });
  }
  const server = config.getCurrentCluster()?.server;
  if (server === undefined) throw new MeshError('ERR_CONFIG', 'the kubeconfig names no current cluster');
  return async ({ method, path, query = {}, body, contentType, signal, silenceMs }) => {
    const url = `${server.replace(/\/+$/, '')}${path}`;
    const context = new RequestContext(url, HttpMethod[method]);
    await config.applySecurityAuthentication(context);
    const dispatcher = context.getDispatcher();
    const headers = { ...context.getHeaders(), accept: 'application/json', 'user-agent': 'culvert' };
    return request(url, {
      ...{ method, query, headersTimeout: HEADERS_TIMEOUT_MS, bodyTimeout: silenceMs },
      headers: contentType === undefined ? headers : { ...headers, 'content-type': contentType },
      ...(dispatcher ? { dispatcher: dispatcher as unknown as Dispatcher } : {}),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal ? { signal } : {}),
    });
  };
}

function inClusterOptions({ host, port, accountDir }: ClusterLocation & { readonly kind: 'in-cluster' }) {
  const server = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  const authProvider = { name: 'tokenFile', config: { tokenFile: `${accountDir}/token` } };
  return {
    clusters: [{ name: 'cluster', caFile: `${accountDir}/ca.crt`, server, skipTLSVerify: false }],
    users: [{ name: 'account', authProvider }],
    contexts: [{ name: 'pod', user: 'account', cluster: 'cluster' }],
    currentContext: 'pod',
  };
}

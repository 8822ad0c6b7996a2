/** Connections whose bytes are not looked into: to a backend of the matching route, else to the service itself. */
import type { Duplex } from 'node:stream';
import { errorMessage } from '../../core/errors.ts';
import { compileRange, parseIp, rangeContains } from '../../model/ip.ts';
import type { L4Route, WeightedBackend } from '../../model/l7/index.ts';
import { toBackend } from '../../model/l7/index.ts';
import { joinStreams } from '../http/join-streams.ts';
import { hostFit } from '../match/route-table.ts';
import type { PolicyRequest } from '../policy/policy-request.ts';
import type { RouterDeps } from '../router.ts';
import type { CompiledPort } from '../state/compiled-service.ts';
import { pickBackend } from '../upstream/backend.ts';
import type { EndpointSet } from '../upstream/cluster-runtime.ts';
import { hash32 } from '../upstream/consistent-hash.ts';
import type { TunnelContext } from './tunnel-context.ts';

export interface ConnectionEnd {
  readonly flag: string;
  readonly details: string;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly cluster: string;
}

export interface TcpRequest {
  readonly context: TunnelContext;
  readonly port: CompiledPort;
  /** Of a ClientHello; undefined for what is no TLS. */
  readonly serverName: string | undefined;
}

/** Owns the stream. Resolves when both sides are closed. Never rejects. */
export async function proxyTcp(stream: Duplex, request: TcpRequest, deps: RouterDeps): Promise<ConnectionEnd> {
  stream.on('error', () => {}); // seen by its close
  const nothing = { bytesReceived: 0, bytesSent: 0, cluster: '' };
  const backend = chooseBackend(request, deps.random);
  const refuse = (flag: string, details: string): ConnectionEnd => {
    stream.destroy();
    return { flag, details, ...nothing };
  };
  if (backend?.failStatus !== 0) return refuse('NC', 'cluster_not_found');
  const cluster = deps.findCluster(backend.cluster);
  const set = cluster?.find(backend.port, backend.subset);
  if (!cluster || !set) return refuse('NC', 'cluster_not_found');
  const { client } = request.context;
  const host = request.serverName ?? '';
  const endpoint = cluster.pick(set, { hash: sourceHash(set, client.ip) }) ?? cluster.named(host, client.destinationIp);
  const port = endpoint?.targetPort(backend.port);
  if (!endpoint || port === undefined) return refuse('UH', 'no_healthy_upstream');
  const asked = (destinationIp: string, destinationPort: number): PolicyRequest => ({
    client,
    destinationIp,
    destinationPort,
    serverName: request.serverName ?? '',
    http: undefined,
  });
  const ofService = asked(client.destinationIp, client.destinationPort);
  const guarded = request.port.policies;
  const isDenied =
    guarded !== undefined && (guarded.customFor(ofService).length > 0 || !guarded.decide(ofService).allowed);
  const ofEndpoint = asked(endpoint.endpoint.addresses[0] ?? '', port);
  if (isDenied || !deps.admission.connection(ofEndpoint, endpoint.endpoint.policies)) {
    return refuse('', 'rbac_access_denied_matched_policy');
  }
  const abort = new AbortController();
  const onGone = (): void => abort.abort();
  stream.once('close', onGone);
  if (!set.load.mayConnect(set.policy)) return refuse('UO', 'overflow');
  endpoint.active += 1;
  set.load.connections += 1;
  try {
    const { policy } = set;
    const { ip: sourceIp, port: sourcePort, destinationIp, destinationPort } = client;
    const proxied = { sourceIp, sourcePort, destinationIp, destinationPort };
    const upstream = await endpoint.dial(
      { cluster: set.cluster, port, protocol: 'HTTP1', policy, client: proxied },
      abort.signal,
    );
    stream.off('close', onGone);
    cluster.note(set, endpoint, 'OK');
    const bytes = await new Promise<{ sent: number; received: number }>((resolve) =>
      joinStreams(stream, upstream, resolve),
    );
    return {
      flag: '',
      details: '',
      bytesReceived: bytes.sent,
      bytesSent: bytes.received,
      cluster: backend.cluster,
    };
  } catch (error) {
    cluster.note(set, endpoint, 'LOCAL');
    return refuse('UF', `remote_connection_failure|${errorMessage(error)}`);
  } finally {
    endpoint.active -= 1;
    set.load.connections -= 1;
  }
}

/** Of the address, the only thing that a connection can be hashed by. */
function sourceHash({ policy: { loadBalancer } }: EndpointSet, ip: string): number | undefined {
  return loadBalancer.hash.some(({ kind }) => kind === 'SOURCE_IP') ? hash32(ip) : undefined;
}

function chooseBackend(request: TcpRequest, random: () => number): WeightedBackend | undefined {
  const { port } = request;
  const route = port.port.l4Routes.find((one) => isFor(one, request));
  if (route) return pickBackend(route.backends, random);
  const { namespace, hostname } = port.service;
  return toBackend({ cluster: `${namespace}/${hostname}`, port: port.port.port });
}

function isFor(route: L4Route, { context, serverName }: TcpRequest): boolean {
  const { sniHosts, clientNamespaces, sources, destinations } = route;
  const { client } = context;
  if (sniHosts.length > 0 && !sniHosts.some((host) => hostFit(host, serverName ?? '') > 0)) return false;
  if (clientNamespaces.length > 0 && !clientNamespaces.includes(client.identity.namespace)) return false;
  return isWithin(sources, client.ip) && isWithin(destinations, client.destinationIp);
}

function isWithin(ranges: L4Route['sources'], ip: string): boolean {
  if (ranges.length === 0) return true;
  const parsed = parseIp(ip);
  if (!parsed) return false;
  return ranges.some((range) => {
    const compiled = compileRange(range);
    return compiled !== undefined && rangeContains(compiled, parsed);
  });
}

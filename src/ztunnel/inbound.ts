/** Decides inbound CONNECT streams: method, authority, workload, destination, port, policy, in this order. Pure. */
import type { MeshError } from '../core/errors.ts';
import type { ForwardPlain, HboneStream } from '../engine/index.ts';
import type { IpPort } from '../model/address.ts';
import { identityUri } from '../model/identity.ts';
import { formatIpPort, ipFamily } from '../model/ip.ts';
import type { ConnectionRecord } from './connection-record.ts';
import {
  type Decided,
  type DeciderConfig,
  type DeciderDeps,
  judge,
  type Owner,
  serviceLabel,
  side,
} from './decider.ts';
import { parseBaggage, parseForwardedHost, toBaggage } from './hop-headers.ts';
import {
  type Authority,
  guessService,
  type InboundPlan,
  type InboundQuery,
  parseAuthority,
  planInbound,
} from './inbound-plan.ts';
import { proxyHeader } from './proxy-protocol.ts';

type ConnectPlan = Extract<InboundPlan, { kind: 'connect' }>;

/** @param owner the pod's workload, or why it is not known */
export function decideInboundHbone(
  deps: DeciderDeps,
  stream: HboneStream,
  owner: Owner | MeshError,
): Decided<ForwardPlain> {
  const refuse = (status: number, error: string, reason: string): Decided<ForwardPlain> => ({
    kind: 'refused',
    status,
    destination: stream.localAddress,
    error,
    reason,
  });
  if (stream.method !== 'CONNECT') return refuse(400, `expected method CONNECT, got ${stream.method}`, 'METHOD');
  const authority = parseAuthority(stream.authority);
  if (!authority) return refuse(400, `no valid authority pseudo header: ${stream.authority}`, 'AUTHORITY');
  if (owner instanceof Error) return refuse(503, owner.message, 'UNKNOWN_WORKLOAD');
  const plan = planInbound(deps.view, inboundQuery(deps.config, stream, { authority, owner }));
  if (plan.kind === 'refuse') return refuse(plan.status, plan.reason, plan.status === 400 ? 'DESTINATION' : 'NO_ROUTE');
  const record = inboundRecord(deps, stream, { owner, plan });
  const facts = {
    identity: stream.peerIdentity,
    sourceIp: stream.source.ip,
    destinationIp: plan.upstream.ip,
    destinationPort: plan.upstream.port,
  };
  const error = judge(deps, owner.workload, facts);
  if (error !== undefined) return { kind: 'denied', record, error };
  const decision = forwardTo(deps.config, stream, { owner, plan });
  return { kind: 'accepted', decision, start: { record, policy: { facts, workload: owner.workload } } };
}

/** Has everything asked for that the decision will look up. Rejects with a MeshError. */
export async function learnInboundHbone(
  { demanded, config }: Pick<DeciderDeps, 'demanded' | 'config'>,
  { stream, signal }: { readonly stream: HboneStream; readonly signal: AbortSignal },
  owner: Owner,
): Promise<void> {
  const authority = parseAuthority(stream.authority);
  if (!demanded || !authority) return;
  const query = inboundQuery(config, stream, { authority, owner });
  await Promise.all([
    demanded.plan((view) => planInbound(view, query), signal),
    demanded.label(config.network, stream.source.ip, signal),
  ]);
}

function inboundQuery(
  { network, illegalPorts }: DeciderConfig,
  { localAddress }: HboneStream,
  { authority, owner }: { readonly authority: Authority; readonly owner: Owner },
): InboundQuery {
  return { authority, local: owner.workload, localIp: localAddress.ip, network, illegalPorts };
}

function inboundRecord(
  { view, config }: DeciderDeps,
  stream: HboneStream,
  { owner, plan }: { readonly owner: Owner; readonly plan: ConnectPlan },
): ConnectionRecord {
  const forwardedHost = parseForwardedHost(stream.headers.forwarded ?? []);
  const service = guessService(view, owner.workload, { forwardedHost, port: plan.upstream.port });
  const fromNetwork = stream.headers['x-forwarded-network']?.[0];
  const isFromGateway = fromNetwork !== undefined && fromNetwork.toLowerCase() !== config.network.toLowerCase();
  return {
    owner: stream.owner,
    direction: 'inbound',
    source: side(stream.source, {
      workload: isFromGateway ? undefined : view.findWorkloadByAddress(config.network, stream.source.ip),
      described: config.responseBaggage ? parseBaggage(stream.headers.baggage ?? []) : undefined,
      identity: stream.peerIdentity,
    }),
    destination: side(stream.localAddress, { workload: owner.workload, identity: owner.identity }),
    hboneAddress: stream.authority,
    service: serviceLabel(service),
    protocol: stream.encrypted ? 'HBONE' : 'LOCAL',
    originalDestination: forwardedHost,
    actualDestination: formatIpPort(plan.upstream),
  };
}

function forwardTo(
  config: DeciderConfig,
  stream: HboneStream,
  { owner, plan }: { readonly owner: Owner; readonly plan: ConnectPlan },
): ForwardPlain {
  const answer = config.responseBaggage ? { responseHeaders: { baggage: toBaggage(owner.workload) } } : {};
  const preamble = plan.announce && {
    preamble: proxyHeader({
      source: stream.source,
      destination: plan.announce,
      identity: identityUri(stream.peerIdentity),
    }),
  };
  const { to, sourceIp } = addresses(config, stream.source, { owner, plan });
  return { action: 'forward', to, ...(sourceIp === undefined ? {} : { sourceIp }), ...preamble, ...answer };
}

function addresses(
  config: DeciderConfig,
  client: IpPort,
  { owner, plan }: { readonly owner: Owner; readonly plan: ConnectPlan },
): { readonly to: IpPort; readonly sourceIp: string | undefined } {
  const { upstream } = plan;
  if (plan.announce && config.localhostAppTunnel) {
    const ip = ipFamily(upstream.ip) === 4 ? '127.0.0.1' : '::1';
    return { to: { ip, port: upstream.port }, sourceIp: ip };
  }
  return { to: upstream, sourceIp: preservedSource(config, { client, upstream, owner }) };
}

/** The client's address, unless it cannot be shown: a pod that calls itself, another family, the tunnel's own listener. */
export function preservedSource(
  config: DeciderConfig,
  { client, upstream, owner }: { readonly client: IpPort; readonly upstream: IpPort; readonly owner: Owner },
): string | undefined {
  const isPossible =
    config.preserveSource &&
    !owner.isSelf &&
    client.ip !== upstream.ip &&
    ipFamily(client.ip) === ipFamily(upstream.ip);
  return isPossible ? client.ip : undefined;
}

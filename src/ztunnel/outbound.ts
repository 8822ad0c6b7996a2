/** Decides captured outbound connections: plan, host name resolution, headers, record. */
import { errorMessage, type MeshError } from '../core/errors.ts';
import type {
  ForwardDoubleHbone,
  HboneConnect,
  HboneSessionKey,
  OutboundDecision,
  PlainConnection,
} from '../engine/index.ts';
import type { IpPort } from '../model/address.ts';
import { parseIdentity } from '../model/identity.ts';
import { formatIpPort } from '../model/ip.ts';
import type { MeshView } from '../model/mesh-view.ts';
import type { ConnectionRecord } from './connection-record.ts';
import type { CompleteRecord } from './connection-table.ts';
import { type Decided, type DeciderDeps, type Owner, serviceLabel, side } from './decider.ts';
import { newTraceparent, parseBaggage, toBaggage, toForwarded } from './hop-headers.ts';
import { isSelfCall, type OutboundPlan, planOutbound, RECURSIVE_CALL } from './outbound-plan.ts';

type TunnelPlan = Extract<OutboundPlan, { kind: 'hbone' | 'double-hbone' }>;

/** @param owner the pod's workload, or why it is not known */
export async function decideOutbound(
  deps: DeciderDeps,
  { connection, signal }: { readonly connection: PlainConnection; readonly signal: AbortSignal },
  owner: Owner | MeshError,
): Promise<Decided<OutboundDecision>> {
  const { view, config, random } = deps;
  const { originalDestination: destination, source } = connection;
  const refuse = (error: string, reason: string): Decided<OutboundDecision> => ({
    kind: 'refused',
    status: 503,
    destination,
    error,
    reason,
  });
  if (isSelfCall(destination, config.illegalPorts)) return refuse(RECURSIVE_CALL, 'SELF_CALL');
  if (owner instanceof Error) return refuse(owner.message, 'UNKNOWN_WORKLOAD');
  const { network, illegalPorts } = config;
  const query = { source: owner.workload, sourceIp: source.ip, destination, network, illegalPorts };
  let plan: OutboundPlan;
  try {
    const make = (known: MeshView): OutboundPlan => planOutbound(known, query, random);
    plan = deps.demanded ? await deps.demanded.plan(make, signal) : make(view);
  } catch (error) {
    return refuse(errorMessage(error), 'DISCOVERY');
  }
  if (plan.kind === 'refuse') return refuse(plan.reason, 'NO_ROUTE');
  if (plan.kind === 'passthrough') return acceptPlain({ connection, owner, to: plan.to, plan: undefined });
  const { address, workload } = plan.hop;
  let ip: string;
  try {
    ip = address.kind === 'ip' ? address.ip : await deps.resolveHostname(workload, address.family, owner.workload);
  } catch (error) {
    return refuse(errorMessage(error), 'DNS');
  }
  const to = { ip, port: plan.hop.port };
  if (plan.kind === 'tcp') return acceptPlain({ connection, owner, to, plan });
  return acceptTunnel({ connection, owner, to, plan, network });
}

function acceptPlain({
  connection,
  owner,
  to,
  plan,
}: {
  readonly connection: PlainConnection;
  readonly owner: Owner;
  readonly to: IpPort;
  readonly plan: Extract<OutboundPlan, { kind: 'tcp' }> | undefined;
}): Decided<OutboundDecision> {
  const record: ConnectionRecord = {
    owner: connection.owner,
    direction: 'outbound',
    source: side(connection.source, { workload: owner.workload }),
    destination: side(to, { workload: plan?.hop.workload }),
    hboneAddress: undefined,
    service: serviceLabel(plan?.service),
    protocol: 'TCP',
    originalDestination: formatIpPort(connection.originalDestination),
    actualDestination: formatIpPort(to),
  };
  return { kind: 'accepted', decision: { action: 'forward', to }, start: { record } };
}

interface TunnelRequest {
  readonly connection: PlainConnection;
  readonly owner: Owner;
  readonly to: IpPort;
  readonly plan: TunnelPlan;
  /** The tunnel's own network, announced to the far side of a gateway. */
  readonly network: string;
}

function acceptTunnel(request: TunnelRequest): Decided<OutboundDecision> {
  const { connection, owner, to, plan } = request;
  const { authority } = plan;
  const text = 'text' in authority ? authority.text : formatIpPort({ ip: to.ip, port: authority.hopPort });
  const headers = {
    baggage: toBaggage(owner.workload),
    forwarded: toForwarded(connection.source, plan.service?.hostname),
    traceparent: newTraceparent(),
  };
  const connect: HboneConnect = { authority: text, headers };
  const session: HboneSessionKey = {
    identity: owner.identity,
    expectedIdentities: plan.expectedIdentities,
    peer: to,
    sourceIp: connection.source.ip,
  };
  const record: ConnectionRecord = {
    owner: connection.owner,
    direction: 'outbound',
    source: side(connection.source, { workload: owner.workload, identity: owner.identity }),
    destination: side(to, { workload: plan.hop.workload, identity: plan.hop.workload }),
    hboneAddress: text,
    service: serviceLabel(plan.service),
    protocol: plan.kind === 'hbone' ? 'HBONE' : 'DOUBLEHBONE',
    originalDestination: formatIpPort(connection.originalDestination),
    actualDestination: formatIpPort(to),
  };
  if (plan.kind === 'hbone')
    return { kind: 'accepted', decision: { action: 'hbone', session, connect }, start: { record } };
  const decision: ForwardDoubleHbone = {
    action: 'double-hbone',
    session,
    connect,
    innerExpectedIdentities: plan.innerExpectedIdentities,
    innerConnect: { authority: text, headers: { ...headers, 'x-forwarded-network': request.network } },
  };
  return { kind: 'accepted', decision, start: { record, complete: completeByBaggage(record, plan) } };
}

/** Behind a gateway only the answer says which workload it was. */
function completeByBaggage(
  record: ConnectionRecord,
  plan: Extract<TunnelPlan, { kind: 'double-hbone' }>,
): CompleteRecord {
  const [only, ...others] = plan.innerExpectedIdentities;
  const identity = only !== undefined && others.length === 0 ? parseIdentity(only) : undefined;
  return (headers) => {
    const described = headers?.baggage === undefined ? undefined : parseBaggage([headers.baggage]);
    return {
      ...record,
      destination: { address: record.destination.address, workload: undefined, described, identity },
    };
  };
}

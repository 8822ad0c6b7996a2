/** Decides captured outbound connections: plan, host name resolution, headers, record. */
import { errorMessage, type MeshError } from '../core/errors.ts';
import {
  type ForwardDoubleHbone,
  type ForwardHbone,
  type ForwardLocal,
  type ForwardPlain,
  type HboneConnect,
  type HboneSessionKey,
  type OutboundDecision,
  PER_CONNECTION,
  type PlainConnection,
} from '../engine/index.ts';
import type { IpPort } from '../model/address.ts';
import { outcomesOf } from '../model/choices.ts';
import { parseIdentity } from '../model/identity.ts';
import { formatIpPort } from '../model/ip.ts';
import type { MeshView } from '../model/mesh-view.ts';
import { INBOUND_HBONE_PORT } from '../model/ports.ts';
import type { ConnectionRecord } from './connection-record.ts';
import type { CompleteRecord } from './connection-table.ts';
import { type Decided, type DeciderDeps, type Owner, serviceLabel, side } from './decider.ts';
import { forwardedBy, newTraceparent, parseBaggage, toBaggage, toForwarded, traceparentOf } from './hop-headers.ts';
import {
  type Hop,
  isSelfCall,
  type OutboundPlan,
  type OutboundQuery,
  planOutbound,
  RECURSIVE_CALL,
} from './outbound-plan.ts';

type TunnelPlan = Extract<OutboundPlan, { kind: 'hbone' | 'double-hbone' }>;

/** @param owner the pod's workload, or why it is not known */
export async function decideOutbound(
  deps: DeciderDeps,
  { connection, signal }: { readonly connection: PlainConnection; readonly signal: AbortSignal },
  owner: Owner | MeshError,
): Promise<Decided<OutboundDecision>> {
  const { view, config, random } = deps;
  const { originalDestination: destination } = connection;
  const refuse = (error: string, reason: string): Decided<OutboundDecision> => ({
    kind: 'refused',
    status: 503,
    destination,
    error,
    reason,
  });
  if (isSelfCall(destination, config.illegalPorts)) return refuse(RECURSIVE_CALL, 'SELF_CALL');
  if (owner instanceof Error) return refuse(owner.message, 'UNKNOWN_WORKLOAD');
  const query = outboundQuery(deps, connection, owner);
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
  return acceptTunnel({ connection, owner, to, plan, network: config.network, localOwner: findLocalOwner(deps, plan) });
}

/** The owner of a pod that this tunnel serves, when it may be joined instead of being tunnelled to. */
function findLocalOwner({ config, findOwnerOf }: DeciderDeps, plan: TunnelPlan): string | undefined {
  if (!config.joinOnNode || plan.kind !== 'hbone' || plan.hop.port !== INBOUND_HBONE_PORT) return undefined;
  return findOwnerOf(plan.hop.workload);
}

/** More endpoints than this are balanced over by asking for each connection. */
const CANDIDATES_MAX = 128;

/** Everything that connections like this one can be answered, or undefined when each has to be decided by itself. */
export function outboundCandidates(
  deps: DeciderDeps,
  connection: PlainConnection,
  owner: Owner,
): readonly OutboundCandidate[] | undefined {
  if (deps.demanded || isSelfCall(connection.originalDestination, deps.config.illegalPorts)) return undefined;
  const query = outboundQuery(deps, connection, owner);
  const outcomes = outcomesOf((random) => planOutbound(deps.view, query, random), CANDIDATES_MAX);
  const candidates: OutboundCandidate[] = [];
  for (const { weight, value: plan } of outcomes ?? []) {
    const answer = answerOf(deps, { connection, owner, plan });
    if (!answer) return undefined;
    candidates.push({ weight, ...answer });
  }
  return candidates.length === 0 ? undefined : candidates;
}

export interface OutboundCandidate {
  readonly weight: number;
  readonly decision: ForwardPlain | ForwardHbone;
  /** Of the connection that was asked about; another one differs in its source port. */
  readonly record: ConnectionRecord;
}

function answerOf(
  deps: DeciderDeps,
  {
    connection,
    owner,
    plan,
  }: { readonly connection: PlainConnection; readonly owner: Owner; readonly plan: OutboundPlan },
): Omit<OutboundCandidate, 'weight'> | undefined {
  const { network } = deps.config;
  if (plan.kind === 'refuse' || plan.kind === 'double-hbone') return undefined;
  if (plan.kind === 'hbone' && findLocalOwner(deps, plan) !== undefined) return undefined;
  const to = plan.kind === 'passthrough' ? plan.to : knownAddress(plan.hop);
  if (!to) return undefined;
  const accepted =
    plan.kind === 'hbone'
      ? acceptTunnel({ connection, owner, to, plan, network, localOwner: undefined })
      : acceptPlain({ connection, owner, to, plan: plan.kind === 'tcp' ? plan : undefined });
  if (accepted.kind !== 'accepted') return undefined;
  const { decision, start } = accepted;
  if (decision.action === 'forward') return { decision, record: start.record };
  if (decision.action !== 'hbone') return undefined;
  const { connect, session } = decision;
  const headers = {
    ...connect.headers,
    forwarded: forwardedBy(PER_CONNECTION.source, plan.kind === 'hbone' ? plan.service?.hostname : undefined),
    traceparent: traceparentOf(PER_CONNECTION.traceId, PER_CONNECTION.spanId),
  };
  const reusable: ForwardHbone = { action: 'hbone', session, connect: { authority: connect.authority, headers } };
  return { decision: reusable, record: start.record };
}

/** A host name is looked up for each connection. */
function knownAddress({ address, port }: Hop): IpPort | undefined {
  return address.kind === 'ip' ? { ip: address.ip, port } : undefined;
}

function outboundQuery(
  { config: { network, illegalPorts } }: DeciderDeps,
  { originalDestination: destination, source }: PlainConnection,
  owner: Owner,
): OutboundQuery {
  return { source: owner.workload, sourceIp: source.ip, destination, network, illegalPorts };
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
  readonly localOwner: string | undefined;
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
    protocol: plan.kind !== 'hbone' ? 'DOUBLEHBONE' : request.localOwner === undefined ? 'HBONE' : 'LOCAL',
    originalDestination: formatIpPort(connection.originalDestination),
    actualDestination: formatIpPort(to),
  };
  if (request.localOwner !== undefined) {
    const decision: ForwardLocal = { action: 'local', to: request.localOwner, session, connect };
    return { kind: 'accepted', decision, start: { record } };
  }
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

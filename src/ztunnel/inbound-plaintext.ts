/** Decides captured inbound connections that are not HBONE: guard, workload, policy without identity. Pure. */
import type { MeshError } from '../core/errors.ts';
import type { ForwardPlain, PlainConnection } from '../engine/index.ts';
import { formatIpPort } from '../model/ip.ts';
import type { ConnectionRecord } from './connection-record.ts';
import { type Decided, type DeciderDeps, judge, type Owner, serviceLabel, side } from './decider.ts';
import { preservedSource } from './inbound.ts';
import { guessService } from './inbound-plan.ts';
import { RECURSIVE_CALL } from './outbound-plan.ts';

/** @param owner the pod's workload, or why it is not known */
export function decideInboundPlain(
  deps: DeciderDeps,
  connection: PlainConnection,
  owner: Owner | MeshError,
): Decided<ForwardPlain> {
  const { view, config } = deps;
  const { source, originalDestination: destination } = connection;
  const refuse = (error: string, reason: string): Decided<ForwardPlain> => ({
    kind: 'refused',
    status: 503,
    destination,
    error,
    reason,
  });
  if (config.illegalPorts.has(destination.port)) return refuse(RECURSIVE_CALL, 'SELF_CALL');
  if (owner instanceof Error) return refuse(owner.message, 'UNKNOWN_WORKLOAD');
  const service = guessService(view, owner.workload, { forwardedHost: undefined, port: destination.port });
  const record: ConnectionRecord = {
    owner: connection.owner,
    direction: 'inbound',
    source: side(source, { workload: view.findWorkloadByAddress(config.network, source.ip) }),
    destination: side(destination, { workload: owner.workload }),
    hboneAddress: undefined,
    service: serviceLabel(service),
    protocol: 'TCP',
    originalDestination: undefined,
    actualDestination: formatIpPort(destination),
  };
  const facts = {
    identity: undefined,
    sourceIp: source.ip,
    destinationIp: destination.ip,
    destinationPort: destination.port,
  };
  const error = judge(deps, owner.workload, facts);
  if (error !== undefined) return { kind: 'denied', record, error };
  const sourceIp = preservedSource(config, { client: source, upstream: destination, owner });
  return {
    kind: 'accepted',
    decision: { action: 'forward', to: destination, ...(sourceIp === undefined ? {} : { sourceIp }) },
    start: { record, policy: { facts, workload: owner.workload } },
  };
}

/** The access log: one line when a connection ends. Source: Istio node tunnel, scope `access`. */
import { BareText, type LogFields, type Logger } from '../../core/logger.ts';
import type { IpPort } from '../../model/address.ts';
import { identityUri } from '../../model/identity.ts';
import { formatIpPort } from '../../model/ip.ts';
import type { ConnectionRecord, Side } from '../connection-record.ts';

export interface AccessOutcome {
  /** From the client to the server. */
  readonly bytesReceived: number;
  /** From the server to the client. */
  readonly bytesSent: number;
  readonly durationMs: number;
  readonly error: string | undefined;
}

export class AccessLog {
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log.child('access');
  }

  opened(record: ConnectionRecord): void {
    if (this.#log.isLevelEnabled('debug')) this.#log.debug('connection opened', recordFields(record));
  }

  /** Level info, or error when the connection failed. */
  completed(record: ConnectionRecord, outcome: AccessOutcome): void {
    const level = outcome.error === undefined ? 'info' : 'error';
    if (!this.#log.isLevelEnabled(level)) return;
    const isOutbound = record.direction === 'outbound';
    this.#log[level]('connection complete', {
      ...recordFields(record),
      bytes_sent: isOutbound ? outcome.bytesReceived : outcome.bytesSent,
      bytes_recv: isOutbound ? outcome.bytesSent : outcome.bytesReceived,
      duration: `${Math.round(outcome.durationMs)}ms`,
      error: outcome.error,
    });
  }

  /** A connection that was refused before enough was known for a record. */
  failed(connection: {
    readonly source: IpPort;
    readonly destination: IpPort | undefined;
    readonly direction: ConnectionRecord['direction'];
    readonly error: string;
  }): void {
    this.#log.warn('connection failed', {
      'src.addr': bare(connection.source),
      'dst.addr': connection.destination && bare(connection.destination),
      direction: connection.direction,
      error: connection.error,
    });
  }
}

function recordFields(record: ConnectionRecord): LogFields {
  const { source, destination, hboneAddress, service, direction, protocol } = record;
  return {
    'src.addr': bare(source.address),
    'src.workload': workloadName(source),
    'src.namespace': source.workload?.namespace ?? source.described?.namespace,
    'src.identity': source.identity && identityUri(source.identity),
    'src.cluster': source.workload?.clusterId ?? source.described?.clusterId,
    'dst.addr': bare(destination.address),
    'dst.hbone_addr': hboneAddress === undefined ? undefined : new BareText(hboneAddress),
    'dst.service': service?.hostname,
    'dst.workload': workloadName(destination),
    'dst.namespace': destination.workload?.namespace ?? destination.described?.namespace,
    'dst.identity': destination.identity && identityUri(destination.identity),
    'dst.cluster': destination.workload?.clusterId ?? destination.described?.clusterId,
    direction,
    // only where it might be taken for mutual TLS
    security: protocol === 'LOCAL' ? new BareText('none') : undefined,
  };
}

/** The pod's name; without one the canonical service that its tunnel announced. */
function workloadName({ workload, described }: Side): string | undefined {
  return workload?.name ?? described?.workloadName ?? described?.canonicalName;
}

function bare(address: IpPort): BareText {
  return new BareText(formatIpPort(address));
}

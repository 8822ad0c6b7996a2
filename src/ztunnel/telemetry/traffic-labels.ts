/**
 * Labels of the traffic metrics, in their order, from the facts of one connection.
 * Source: Istio standard metrics (TCP) as the node tunnel reports them.
 */
import type { ResponseFlag } from '../../engine/index.ts';
import { type Identity, identityUri } from '../../model/identity.ts';
import type { ConnectionRecord, Side } from '../connection-record.ts';

const UNKNOWN = 'unknown';

export const TRAFFIC_LABELS = [
  'reporter',
  'source_workload',
  'source_canonical_service',
  'source_canonical_revision',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_cluster',
  'destination_service',
  'destination_service_namespace',
  'destination_service_name',
  'destination_workload',
  'destination_canonical_service',
  'destination_canonical_revision',
  'destination_workload_namespace',
  'destination_principal',
  'destination_app',
  'destination_version',
  'destination_cluster',
  'request_protocol',
  'response_flags',
  'connection_security_policy',
  'source_region',
  'source_zone',
  'destination_region',
  'destination_zone',
] as const;

export type TrafficLabel = (typeof TRAFFIC_LABELS)[number];
export type TrafficLabels = Partial<Readonly<Record<TrafficLabel, string>>>;

export function trafficLabels(record: ConnectionRecord, flag: ResponseFlag): TrafficLabels {
  const { source, destination, service } = record;
  const from = sideLabels(source);
  const to = sideLabels(destination);
  const labels: TrafficLabels = {
    reporter: record.direction === 'outbound' ? 'source' : 'destination',
    source_workload: from.workload,
    source_canonical_service: from.canonicalService,
    source_canonical_revision: from.revision,
    source_workload_namespace: from.namespace,
    source_principal: principal(source.identity),
    source_app: from.app,
    source_version: from.revision,
    source_cluster: from.cluster,
    destination_service: service?.hostname || UNKNOWN,
    destination_service_namespace: service?.namespace || UNKNOWN,
    destination_service_name: service?.name || UNKNOWN,
    destination_workload: to.workload,
    destination_canonical_service: to.canonicalService,
    destination_canonical_revision: to.revision,
    destination_workload_namespace: to.namespace,
    destination_principal: principal(destination.identity ?? destination.workload),
    destination_app: to.app,
    destination_version: to.revision,
    destination_cluster: to.cluster,
    request_protocol: 'tcp',
    response_flags: flag,
    connection_security_policy: securityPolicy(record),
  };
  if (!source.workload && !destination.workload) return labels;
  return {
    ...labels,
    source_region: from.region,
    source_zone: from.zone,
    destination_region: to.region,
    destination_zone: to.zone,
  };
}

/** `none`: identities were verified, and the bytes never left the node; they were not encrypted. */
function securityPolicy({ protocol, source }: ConnectionRecord): string {
  if (protocol === 'LOCAL') return 'none';
  return source.identity ? 'mutual_tls' : UNKNOWN;
}

interface SideLabels {
  readonly workload: string;
  readonly app: string;
  readonly canonicalService: string;
  readonly revision: string;
  readonly namespace: string;
  readonly cluster: string;
  readonly region: string;
  readonly zone: string;
}

/** The control plane's word beats what the peer says of itself. */
function sideLabels({ workload, described }: Side): SideLabels {
  if (workload) {
    return {
      workload: workload.workloadName || UNKNOWN,
      app: workload.canonicalName || UNKNOWN,
      canonicalService: workload.canonicalName || UNKNOWN,
      revision: workload.canonicalRevision || UNKNOWN,
      namespace: workload.namespace || UNKNOWN,
      cluster: workload.clusterId || UNKNOWN,
      region: workload.locality.region || UNKNOWN,
      zone: workload.locality.zone || UNKNOWN,
    };
  }
  return {
    workload: described?.workloadName || UNKNOWN,
    app: described?.workloadName || UNKNOWN,
    canonicalService: described?.canonicalName || UNKNOWN,
    revision: described?.canonicalRevision || UNKNOWN,
    namespace: described?.namespace || UNKNOWN,
    cluster: described?.clusterId || UNKNOWN,
    region: described?.region || UNKNOWN,
    zone: described?.zone || UNKNOWN,
  };
}

function principal(identity: Identity | undefined): string {
  return identity ? identityUri(identity) : UNKNOWN;
}

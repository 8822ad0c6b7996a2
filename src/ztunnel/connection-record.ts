/** Facts about one connection that telemetry and policy need; made once, when it is decided upon. */
import type { IpPort } from '../model/address.ts';
import type { ApplicablePolicies, ConnectionFacts } from '../model/authorize.ts';
import type { Identity } from '../model/identity.ts';
import type { Workload } from '../model/workload.ts';

/** A side that is known only from what its own tunnel said in `baggage`. */
export interface PeerDescription {
  readonly clusterId: string | undefined;
  readonly namespace: string | undefined;
  readonly workloadName: string | undefined;
  readonly canonicalName: string | undefined;
  readonly canonicalRevision: string | undefined;
  readonly region: string | undefined;
  readonly zone: string | undefined;
}

export interface Side {
  readonly address: IpPort;
  readonly workload: Workload | undefined;
  /** Used where `workload` is undefined. */
  readonly described: PeerDescription | undefined;
  /** Proven by mTLS. */
  readonly identity: Identity | undefined;
}

export interface ServiceLabel {
  readonly hostname: string;
  readonly name: string;
  readonly namespace: string;
}

export interface ConnectionRecord {
  readonly owner: string;
  readonly direction: 'inbound' | 'outbound';
  readonly source: Side;
  readonly destination: Side;
  /** `:authority` of the CONNECT. */
  readonly hboneAddress: string | undefined;
  readonly service: ServiceLabel | undefined;
  /** LOCAL: as HBONE, and joined on this node without encryption. */
  readonly protocol: 'TCP' | 'HBONE' | 'DOUBLEHBONE' | 'LOCAL';
  /** For the config dump. */
  readonly originalDestination: string | undefined;
  readonly actualDestination: string;
}

/** What policy judges an inbound connection by, for as long as it lives. */
export interface PolicySubject {
  readonly facts: ConnectionFacts;
  /** The pod's workload when the connection was accepted. */
  readonly workload: Workload;
}

export type FindPolicies = (workload: Workload) => ApplicablePolicies;

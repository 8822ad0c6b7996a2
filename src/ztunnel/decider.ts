/** What the deciders share: their view of the mesh, the owners of listeners, and the form of their results. */
import type { Logger } from '../core/logger.ts';
import type { OutboundDecision } from '../engine/index.ts';
import type { IpPort } from '../model/address.ts';
import { type ApplicablePolicies, authorize, type ConnectionFacts, type PolicyNote } from '../model/authorize.ts';
import type { Identity } from '../model/identity.ts';
import type { MeshView } from '../model/mesh-view.ts';
import type { Service } from '../model/service.ts';
import type { Random } from '../model/upstream.ts';
import type { Workload } from '../model/workload.ts';
import type { ConnectionRecord, PeerDescription, ServiceLabel, Side } from './connection-record.ts';
import type { ConnectionStart } from './connection-table.ts';
import type { DemandedView } from './demanded-view.ts';

/** Whom a listener serves. */
export interface Owner {
  readonly workload: Workload;
  readonly identity: Identity;
  /** The tunnel's own listener, which never shows a foreign source address. */
  readonly isSelf: boolean;
}

export interface DeciderConfig {
  /** The tunnel's own network. */
  readonly network: string;
  readonly illegalPorts: ReadonlySet<number>;
  /** Show the client's address to the application. */
  readonly preserveSource: boolean;
  /** Read the baggage of requests and answer with baggage. */
  readonly responseBaggage: boolean;
  /** Application tunnels with PROXY protocol are reached on loopback. */
  readonly localhostAppTunnel: boolean;
  /** Join two pods of this node without TLS once identity and policy were decided. False: always encrypt. */
  readonly joinOnNode: boolean;
  /** Write what policy decided at level info instead of debug. */
  readonly policyInfoLog: boolean;
}

export interface DeciderDeps {
  readonly view: MeshView;
  /** Set when the control plane tells only what it is asked for. */
  readonly demanded?: DemandedView | undefined;
  readonly policiesFor: (workload: Workload) => ApplicablePolicies;
  readonly config: DeciderConfig;
  /** One address of a workload that is known by host name only. Rejects with ERR_NOT_FOUND. */
  readonly resolveHostname: (target: Workload, family: 4 | 6, source: Workload) => Promise<string>;
  /** Owner of the listeners of a pod that this tunnel serves. */
  readonly findOwnerOf: (workload: Workload) => string | undefined;
  readonly random: Random;
  readonly log: Logger;
}

export type Decided<D extends OutboundDecision> =
  | { readonly kind: 'accepted'; readonly decision: D; readonly start: ConnectionStart }
  /** By policy: counts as a connection that was opened and failed. */
  | { readonly kind: 'denied'; readonly record: ConnectionRecord; readonly error: string }
  /** Before enough was known for a record. */
  | {
      readonly kind: 'refused';
      readonly status: number;
      readonly destination: IpPort;
      readonly error: string;
      /** Short word for the counter. */
      readonly reason: string;
    };

/** `connection closed due to policy rejection: ...`, or undefined when policy lets the connection pass. */
export function judge(deps: DeciderDeps, workload: Workload, facts: ConnectionFacts): string | undefined {
  const verdict = authorize(deps.policiesFor(workload), facts);
  logNotes(deps, verdict.notes);
  return verdict.allowed ? undefined : `connection closed due to policy rejection: ${verdict.reason}`;
}

function logNotes({ log, config }: DeciderDeps, notes: readonly PolicyNote[]): void {
  for (const { message, policy } of notes) {
    const level = message === 'listed policy is unknown' ? 'warn' : config.policyInfoLog ? 'info' : 'debug';
    log[level](message, policy === '' ? {} : { policy });
  }
}

export function serviceLabel(service: Service | undefined): ServiceLabel | undefined {
  return service && { hostname: service.hostname, name: service.name, namespace: service.namespace };
}

export function side(
  address: IpPort,
  {
    workload,
    described,
    identity,
  }: {
    readonly workload?: Workload | undefined;
    readonly described?: PeerDescription | undefined;
    readonly identity?: Identity | undefined;
  },
): Side {
  return { address, workload, described, identity };
}

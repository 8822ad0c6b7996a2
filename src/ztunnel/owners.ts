/**
 * Whom each listener serves: pods by the owner name of their proxy, and the tunnel itself.
 *
 * Guarantee: an owner is known from before its listeners accept until its last connection has ended.
 */
import { MeshError } from '../core/errors.ts';
import type { Identity } from '../model/identity.ts';
import type { Workload } from '../model/workload.ts';
import type { Owner } from './decider.ts';
import type { PodInfo } from './state/workload-index.ts';

export interface LocalWorkloads {
  findLocalWorkload(pod: PodInfo): Workload | undefined;
  /** Waits up to 5 s; rejects with ERR_NOT_FOUND. */
  waitForLocalWorkload(pod: PodInfo, signal?: AbortSignal): Promise<Workload>;
}

interface Entry {
  readonly info: PodInfo;
  /** Set for the tunnel's own listener: its identity does not depend on the control plane. */
  readonly identity: Identity | undefined;
}

export class Owners {
  readonly #workloads: LocalWorkloads;
  readonly #entries = new Map<string, Entry>();
  /** By pod. */
  readonly #owners = new Map<string, string>();

  constructor(workloads: LocalWorkloads) {
    this.#workloads = workloads;
  }

  add(owner: string, info: PodInfo, identity?: Identity): void {
    this.#entries.set(owner, { info, identity });
    if (!identity) this.#owners.set(podKey(info), owner);
  }

  delete(owner: string): void {
    const entry = this.#entries.get(owner);
    if (entry && this.#owners.get(podKey(entry.info)) === owner) this.#owners.delete(podKey(entry.info));
    this.#entries.delete(owner);
  }

  async resolve(owner: string, signal?: AbortSignal): Promise<Owner> {
    const entry = this.#get(owner);
    return toOwner(entry, await this.#workloads.waitForLocalWorkload(entry.info, signal));
  }

  /** Undefined as long as its workload is not known. */
  find(owner: string): Owner | undefined {
    const entry = this.#entries.get(owner);
    const workload = entry && this.#workloads.findLocalWorkload(entry.info);
    return workload && toOwner(entry, workload);
  }

  /** Whose listeners serve this very workload, which is one of a pod of this node. */
  findOwnerOf(workload: Workload): string | undefined {
    const owner = this.#owners.get(podKey(workload));
    const served = owner === undefined ? undefined : this.find(owner);
    return served && !served.isSelf && served.workload.uid === workload.uid ? owner : undefined;
  }

  /** Only what is needed to present a certificate: the tunnel's own does not wait for the control plane. */
  async identity(owner: string, signal: AbortSignal): Promise<Identity> {
    return this.#get(owner).identity ?? (await this.resolve(owner, signal)).identity;
  }

  #get(owner: string): Entry {
    const entry = this.#entries.get(owner);
    if (!entry) throw new MeshError('ERR_NOT_FOUND', `the pod of this listener is gone: ${owner}`);
    return entry;
  }
}

function toOwner({ info, identity }: Entry, workload: Workload): Owner {
  return {
    workload,
    identity: identity ?? {
      trustDomain: workload.trustDomain,
      namespace: info.namespace,
      serviceAccount: info.serviceAccount,
    },
    isSelf: identity !== undefined,
  };
}

function podKey({ namespace, name, serviceAccount }: PodInfo): string {
  return `${namespace}/${name}/${serviceAccount}`;
}

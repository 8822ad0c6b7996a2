/**
 * Lookups that first ask the control plane for what is not known, for a tunnel that is told nothing unasked.
 *
 * Guarantees
 *  - A plan is made again until it looked for nothing that has not been asked for: it never rests on half an answer.
 *  - Unknown is not absent: without an answer in DEMAND_WAIT_MS there is no plan, and the connection is refused.
 *  - Bounded: at most ROUNDS_MAX questions follow from each other, each of at most NAMES_MAX names.
 * Source: Istio ztunnel behaviour, XDS_ON_DEMAND.
 */
import type { Clock } from '../core/clock.ts';
import { errorMessage, MeshError } from '../core/errors.ts';
import type { Endpoint, MeshView, VipRangeMatch } from '../model/mesh-view.ts';
import type { Service } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';

/**
 * Asks for a workload's uid, `namespace/hostname` or `network/ip`; resolves when the resource, or that there is none, is
 * in force. Rejects when `signal` aborts.
 */
export type Demand = (name: string, signal: AbortSignal) => Promise<void>;

const DEMAND_WAIT_MS = 5_000;
/** What is only good for labels is not worth more. */
const LABEL_WAIT_MS = 1_000;
/** Destination, its waypoint or gateway, that one's workloads; and as many again when weights choose another waypoint. */
const ROUNDS_MAX = 8;
const NAMES_MAX = 100;

export interface DemandedViewDeps {
  readonly view: MeshView;
  readonly demand: Demand;
  readonly clock: Clock;
}

export class DemandedView {
  readonly #deps: DemandedViewDeps;

  constructor(deps: DemandedViewDeps) {
    this.#deps = deps;
  }

  /** The plan that `make` draws when all it looks for is known, or known not to be. Rejects with a MeshError. */
  async plan<T>(make: (view: MeshView) => T, signal: AbortSignal): Promise<T> {
    const asked = new Set<string>();
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const view = new RecordingView(this.#deps.view);
      const plan = make(view);
      const names = [...view.missed].filter((name) => !asked.has(name));
      if (names.length === 0) return plan;
      if (names.length > NAMES_MAX) break;
      for (const name of names) asked.add(name);
      await this.#ask(names, DEMAND_WAIT_MS, signal);
    }
    throw new MeshError('ERR_LIMIT', 'the control plane has to be asked for too much');
  }

  /** Asks who has an address, for labels: resolves in any case. */
  async label(network: string, ip: string, signal: AbortSignal): Promise<void> {
    const view = new RecordingView(this.#deps.view);
    view.findWorkloadByAddress(network, ip);
    await this.#ask([...view.missed], LABEL_WAIT_MS, signal).catch(() => undefined); // then it stays unknown
  }

  async #ask(names: readonly string[], waitMs: number, signal: AbortSignal): Promise<void> {
    if (names.length === 0) return;
    const { demand, clock } = this.#deps;
    const late = new AbortController();
    const settled = new AbortController();
    clock.sleep(waitMs, settled.signal).then(
      () => late.abort(),
      () => undefined, // everything was answered
    );
    const either = AbortSignal.any([signal, late.signal]);
    try {
      await Promise.all(names.map((name) => demand(name, either)));
    } catch (error) {
      if (late.signal.aborted) throw new MeshError('ERR_TIMEOUT', `no answer from the control plane on ${names[0]}`);
      if (error instanceof MeshError) throw error;
      throw new MeshError('ERR_XDS', errorMessage(error), { cause: error });
    } finally {
      settled.abort();
      late.abort();
    }
  }
}

/** A view that notes under which names to ask for what it did not find. */
class RecordingView implements MeshView {
  readonly missed = new Set<string>();
  readonly #view: MeshView;

  constructor(view: MeshView) {
    this.#view = view;
  }

  findWorkload(uid: string): Workload | undefined {
    const found = this.#view.findWorkload(uid);
    if (!found) this.missed.add(uid);
    return found;
  }

  findWorkloadByAddress(network: string, ip: string): Workload | undefined {
    this.#noteAddress(network, ip);
    return this.#view.findWorkloadByAddress(network, ip);
  }

  findWorkloadByHostname(namespace: string, hostname: string): Workload | undefined {
    this.#noteHostname(namespace, hostname);
    return this.#view.findWorkloadByHostname(namespace, hostname);
  }

  findService(key: string): Service | undefined {
    const slash = key.indexOf('/');
    this.#noteHostname(key.slice(0, slash), key.slice(slash + 1));
    return this.#view.findService(key);
  }

  servicesByHostname(hostname: string): readonly Service[] {
    const found = this.#view.servicesByHostname(hostname);
    const namespace = /^[^.]+\.([^.]+)\.svc\./.exec(hostname)?.[1];
    if (found.length === 0 && namespace !== undefined) this.#noteHostname(namespace, hostname);
    return found;
  }

  servicesByVip(network: string, ip: string): readonly Service[] {
    this.#noteAddress(network, ip);
    return this.#view.servicesByVip(network, ip);
  }

  servicesByVipRange(network: string, ip: string): readonly VipRangeMatch[] {
    return this.#view.servicesByVipRange(network, ip);
  }

  endpoints(serviceKey: string): Iterable<Endpoint> {
    return this.#view.endpoints(serviceKey);
  }

  findEndpoint(serviceKey: string, workloadUid: string): Endpoint | undefined {
    return this.#view.findEndpoint(serviceKey, workloadUid);
  }

  /** A known block of addresses says nothing of a service that has just this one. */
  #noteAddress(network: string, ip: string): void {
    if (this.#view.findWorkloadByAddress(network, ip) || this.#view.servicesByVip(network, ip).length > 0) return;
    this.missed.add(`${network}/${ip}`);
  }

  #noteHostname(namespace: string, hostname: string): void {
    const key = `${namespace}/${hostname}`;
    if (this.#view.findService(key) || this.#view.findWorkloadByHostname(namespace, hostname)) return;
    this.missed.add(key);
  }
}

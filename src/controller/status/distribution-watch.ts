/**
 * Keeps the conditions that say how far policies have come: looks now and then whether anything they follow from is
 * another, and only then computes them again.
 */
import type { Authorization } from '../../model/authorization.ts';
import { authorizationKey } from '../../model/authorization.ts';
import { AUTHORIZATION_TYPE, type Commit, type DiscoveryService, type ResourceStore } from '../../xds/index.ts';
import type { MeshIR, StatusPatch } from '../ir.ts';
import { Distribution, distributionStatuses, type ReplicaReport, reportOf } from './distribution.ts';
import { PolicyNeeds } from './policy-needs.ts';

export interface DistributionWatchDeps {
  readonly store: ResourceStore;
  readonly discovery: DiscoveryService;
  readonly peers: { readonly current: readonly ReplicaReport[] };
  /** The conditions say something else now. */
  readonly onChange: () => void;
}

/** Subscribers do not tell when they have taken something; asking is cheap. */
const LOOK_MS = 250;
/** Where pods have come to or gone from costs more to find out: every so many looks. */
const LOOKS_PER_PLACEMENT = 4;

export class DistributionWatch implements Disposable {
  readonly #deps: DistributionWatchDeps;
  readonly #changedAt = new Map<string, number>();
  readonly #needs = new PolicyNeeds();
  readonly #timer: NodeJS.Timeout;
  #digests: Readonly<Record<string, string>> = {};
  #policies: readonly Authorization[] = [];
  #ir: MeshIR | undefined;
  #seen: readonly unknown[] = [];
  #told = '';
  #looks = 0;
  #statuses: readonly StatusPatch[] = [];

  constructor(deps: DistributionWatchDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    this.#timer.unref();
  }

  get statuses(): readonly StatusPatch[] {
    return this.#statuses;
  }

  /** For the replica that leads. */
  get report(): ReplicaReport {
    return reportOf({ digests: this.#digests, changedAt: this.#changedAt }, this.#deps.discovery.subscribers());
  }

  /** Takes in what a pass has put in force. `authored`: keys of policies that somebody wrote. */
  update(ir: MeshIR, authored: ReadonlySet<string>, commit: Commit): void {
    const { store } = this.#deps;
    this.#ir = ir;
    const changed = commit.get(AUTHORIZATION_TYPE) ?? [];
    for (const key of changed) {
      if (store.find(AUTHORIZATION_TYPE, key)) this.#changedAt.set(key, store.generation);
      else this.#changedAt.delete(key);
    }
    const policies = ir.policies.filter((policy) => authored.has(authorizationKey(policy)));
    const same = policies.length === this.#policies.length && policies.every((one, i) => one === this.#policies[i]);
    if (same && commit.get(AUTHORIZATION_TYPE) === undefined) return;
    this.#policies = policies;
    const keys = policies.map(authorizationKey);
    this.#digests = Object.fromEntries(keys.map((key) => [key, store.digest(AUTHORIZATION_TYPE, key)]));
    this.#compute();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { discovery, peers } = this.#deps;
    this.#looks += 1;
    const placed = this.#looks % LOOKS_PER_PLACEMENT === 0 ? this.#ir?.workloadGroups : this.#seen[0];
    const now = [placed, discovery.revision, JSON.stringify(peers.current)];
    if (this.#policies.length === 0 || now.every((one, index) => one === this.#seen[index])) return;
    this.#seen = now;
    if (this.#compute()) this.#deps.onChange();
  }

  #compute(): boolean {
    if (this.#ir) this.#needs.update(this.#ir);
    const distribution = new Distribution([this.report, ...this.#deps.peers.current]);
    const statuses = distributionStatuses(this.#policies, distribution, (policy) => this.#needs.nodesFor(policy));
    const told = JSON.stringify(statuses);
    if (told === this.#told) return false;
    this.#told = told;
    this.#statuses = statuses;
    return true;
  }
}

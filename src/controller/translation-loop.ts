/**
 * From a changed object to what subscribers and authors are told: snapshot, translate, push, statuses.
 * A pass always works on everything; what did not change costs nothing further down.
 */
import type { Clock } from '../core/clock.ts';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import type { DiscoveryService, ResourceStore } from '../xds/index.ts';
import { DiscoveryEmitter } from './emit/discovery-emitter.ts';
import type { MeshIR, Translation } from './ir.ts';
import type { MeshSettings } from './mesh-settings.ts';
import type { ResourceWatch } from './resource-watch.ts';
import { nameOf, type Resources } from './resources.ts';
import { AttachmentTracker } from './status/attachment-tracker.ts';
import type { ReplicaReport } from './status/distribution.ts';
import { DistributionWatch } from './status/distribution-watch.ts';
import type { StatusWriter } from './status/status-writer.ts';
import { Translator } from './translate/translator.ts';

export interface TranslationLoopDeps {
  readonly watch: ResourceWatch;
  readonly store: ResourceStore;
  readonly settings: MeshSettings;
  readonly statuses: StatusWriter;
  readonly discovery: DiscoveryService;
  /** What other replicas say of their subscribers. */
  readonly peers: { readonly current: readonly ReplicaReport[] };
  readonly clock: Clock;
  readonly log: Logger;
  readonly onPass: (seconds: number, sizes: Readonly<Record<string, number>>) => void;
}

/** Subscribers do not tell when they have taken something; asking is cheap. */
const ATTACHMENT_MS = 250;
const EMPTY: Translation = {
  ir: { workloadGroups: new Map(), services: [], policies: [], gateways: [] },
  statuses: [],
  bound: [],
};

export class TranslationLoop implements Disposable {
  readonly #deps: TranslationLoopDeps;
  readonly #translator: Translator;
  readonly #emitter: DiscoveryEmitter;
  readonly #tracker = new AttachmentTracker();
  readonly #distribution: DistributionWatch;
  readonly #poll: NodeJS.Timeout;
  #translation = EMPTY;
  #refused: ReadonlyMap<string, string> = new Map();

  constructor(deps: TranslationLoopDeps) {
    this.#deps = deps;
    this.#translator = new Translator(deps.settings);
    this.#emitter = new DiscoveryEmitter(deps.store, deps.log);
    const { store, discovery, peers } = deps;
    this.#distribution = new DistributionWatch({ store, discovery, peers, onChange: () => this.#tell() });
    this.#poll = setInterval(() => this.#look(), ATTACHMENT_MS);
    this.#poll.unref();
  }

  /** How far this replica's subscribers are. */
  get report(): ReplicaReport {
    const attachments = Object.fromEntries(this.#tracker.attachments);
    return { ...this.#distribution.report, attachments };
  }

  /** What is served now. */
  get ir(): MeshIR {
    return this.#translation.ir;
  }

  /** One pass. Never throws: what cannot be translated leaves the last state in force. */
  run(): void {
    const { clock, log, watch } = this.#deps;
    const startMs = clock.monotonicMs();
    try {
      const resources = watch.snapshot();
      this.#translation = this.#translator.translate(resources, this.#tracker.attachments);
      this.#reportRefused(resources);
      const commit = this.#emitter.emit(this.#translation.ir);
      this.#tracker.committed(this.#translation.ir.gateways, this.#deps.store);
      this.#distribution.update(this.#translation.ir, new Set(authoredPolicies(resources)), commit);
      const changed = [...commit].map(([typeUrl, names]) => [typeUrl.slice(typeUrl.lastIndexOf('.') + 1), names.size]);
      if (changed.length > 0) log.info('resources changed', Object.fromEntries(changed));
    } catch (error) {
      log.error('translation failed; the last one stays in force', { error: errorMessage(error) });
    }
    const { workloadGroups, services, policies } = this.#translation.ir;
    const sizes = {
      workload: [...workloadGroups.values()].reduce((sum, { length }) => sum + length, 0),
      service: services.length,
      policy: policies.length,
      'refused-policy': this.#refused.size,
    };
    this.#deps.onPass((clock.monotonicMs() - startMs) / 1_000, sizes);
    this.#tell();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#poll);
    this.#distribution[Symbol.dispose]();
  }

  /** One line for each policy that cannot be understood, when it turns so. */
  #reportRefused({ refusedPolicies }: Resources): void {
    const known = this.#refused;
    this.#refused = new Map(refusedPolicies.map(({ object, reason }) => [`${object.kind} ${nameOf(object)}`, reason]));
    for (const [policy, reason] of this.#refused) {
      if (known.get(policy) === reason) continue;
      this.#deps.log.error('policy cannot be understood: what it may guard is denied', { policy, reason });
    }
  }

  /** What replicas of gateways have taken by now, here or at another replica of ours, may be told to clients. */
  #look(): void {
    const { bound } = this.#translation;
    if (bound.length === 0 && this.#tracker.attachments.size === 0) return;
    const { discovery, peers } = this.#deps;
    const elsewhere = peers.current.map(({ attachments }) => attachments);
    if (this.#tracker.update(bound, discovery.subscribers(), elsewhere)) this.run();
  }

  #tell(): void {
    this.#deps.statuses.want([...this.#translation.statuses, ...this.#distribution.statuses]);
  }
}

/** Policies that somebody wrote, as opposed to those made from other kinds. */
function authoredPolicies({ authorizationPolicies, refusedPolicies }: Resources): readonly string[] {
  const refused = refusedPolicies.map(({ object }) => object).filter(({ kind }) => kind === 'AuthorizationPolicy');
  return [...authorizationPolicies, ...refused].map(nameOf);
}

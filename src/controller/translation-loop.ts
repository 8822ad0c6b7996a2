/**
 * From a changed object to what subscribers and authors are told: snapshot, translate, push, statuses.
 * A pass always works on everything; what did not change costs nothing further down.
 */
import type { Clock } from '../core/clock.ts';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { AUTHORIZATION_TYPE, type DiscoveryService, type ResourceStore } from '../xds/index.ts';
import { DiscoveryEmitter } from './emit/discovery-emitter.ts';
import type { MeshIR, StatusPatch, Translation } from './ir.ts';
import type { MeshSettings } from './mesh-settings.ts';
import type { ResourceWatch } from './resource-watch.ts';
import { nameOf, type Resources } from './resources.ts';
import { AttachmentTracker } from './status/attachment-tracker.ts';
import { distributionStatuses } from './status/distribution.ts';
import type { StatusWriter } from './status/status-writer.ts';
import { Translator } from './translate/translator.ts';

export interface TranslationLoopDeps {
  readonly watch: ResourceWatch;
  readonly store: ResourceStore;
  readonly settings: MeshSettings;
  readonly statuses: StatusWriter;
  readonly discovery: Pick<DiscoveryService, 'subscribers'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onPass: (seconds: number, sizes: Readonly<Record<string, number>>) => void;
}

/** Subscribers do not tell when they have taken something; asking is cheap. */
const DISTRIBUTION_MS = 250;
const EMPTY: Translation = { ir: { workloads: [], services: [], policies: [], gateways: [] }, statuses: [], bound: [] };

export class TranslationLoop implements Disposable {
  readonly #deps: TranslationLoopDeps;
  readonly #translator: Translator;
  readonly #emitter: DiscoveryEmitter;
  readonly #tracker = new AttachmentTracker();
  readonly #policyChangedAt = new Map<string, number>();
  readonly #poll: NodeJS.Timeout;
  #translation = EMPTY;
  #authored: ReadonlySet<string> = new Set();
  #refused: ReadonlyMap<string, string> = new Map();
  #told = '';

  constructor(deps: TranslationLoopDeps) {
    this.#deps = deps;
    this.#translator = new Translator(deps.settings);
    this.#emitter = new DiscoveryEmitter(deps.store, deps.log);
    this.#poll = setInterval(() => this.#look(), DISTRIBUTION_MS);
    this.#poll.unref();
  }

  /** What is served now. */
  get ir(): MeshIR {
    return this.#translation.ir;
  }

  /** One pass. Never throws: what cannot be translated leaves the last state in force. */
  run(): void {
    const { clock, log, watch, store } = this.#deps;
    const startMs = clock.monotonicMs();
    try {
      const resources = watch.snapshot();
      this.#translation = this.#translator.translate(resources, this.#tracker.attachments);
      this.#reportRefused(resources);
      this.#authored = new Set(authoredPolicies(resources));
      const commit = this.#emitter.emit(this.#translation.ir);
      this.#tracker.committed(this.#translation.ir.gateways, store);
      for (const key of commit.get(AUTHORIZATION_TYPE) ?? []) this.#policyChangedAt.set(key, store.generation);
      for (const key of this.#policyChangedAt.keys()) {
        if (!store.find(AUTHORIZATION_TYPE, key)) this.#policyChangedAt.delete(key);
      }
      const changed = [...commit].map(([typeUrl, names]) => [typeUrl.slice(typeUrl.lastIndexOf('.') + 1), names.size]);
      if (changed.length > 0) log.info('resources changed', Object.fromEntries(changed));
    } catch (error) {
      log.error('translation failed; the last one stays in force', { error: errorMessage(error) });
    }
    const { workloads, services, policies } = this.#translation.ir;
    const sizes = {
      workload: workloads.length,
      service: services.length,
      policy: policies.length,
      'refused-policy': this.#refused.size,
    };
    this.#deps.onPass((clock.monotonicMs() - startMs) / 1_000, sizes);
    this.#tell(true);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#poll);
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

  /** What replicas of gateways have taken by now may be told to clients. */
  #look(): void {
    if (this.#tracker.update(this.#translation.bound, this.#deps.discovery.subscribers())) this.run();
    else this.#tell(false);
  }

  #tell(always: boolean): void {
    const subscribers = this.#deps.discovery.subscribers();
    const distributed = distributionStatuses(this.#translation.ir.policies, this.#authored, {
      changedAt: this.#policyChangedAt,
      subscribers,
    });
    const told = JSON.stringify(distributed);
    if (!always && told === this.#told) return;
    this.#told = told;
    const statuses: readonly StatusPatch[] = [...this.#translation.statuses, ...distributed];
    this.#deps.statuses.want(statuses);
  }
}

/** Policies that somebody wrote, as opposed to those made from other kinds. */
function authoredPolicies({ authorizationPolicies, refusedPolicies }: Resources): readonly string[] {
  const refused = refusedPolicies.map(({ object }) => object).filter(({ kind }) => kind === 'AuthorizationPolicy');
  return [...authorizationPolicies, ...refused].map(nameOf);
}

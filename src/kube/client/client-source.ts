/** An API server as a watch provider: one informer per kind and options, made when first asked for. */
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import type { NamespacedName } from '../../model/address.ts';
import { checkObject } from '../../schema/index.ts';
import type { ManifestProblem, ObjectCheck } from '../file/manifest.ts';
import type { GroupKind, Informer, KubeObject, KubeSource, WatchOptions } from '../port.ts';
import type { ApiClient } from './api-client.ts';
import { ClientInformer } from './client-informer.ts';
import { ObjectSet } from './object-set.ts';

export interface ClientSourceOptions {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** By the schemas of the kinds when absent. */
  readonly check?: ObjectCheck;
  readonly random?: () => number;
}

const MAX_PROBLEMS = 1_000;

export class ClientSource implements KubeSource {
  readonly #options: ClientSourceOptions;
  readonly #informers = new Map<string, ClientInformer>();
  readonly #problems = new Map<string, ManifestProblem>();

  constructor(options: ClientSourceOptions) {
    this.#options = options;
  }

  /** Throws ERR_UNSUPPORTED for kinds that no schema names. */
  informer<T extends KubeObject>(kind: GroupKind, options: WatchOptions = {}): Informer<T> {
    const id = [kind.group, kind.kind, options.nodeName ?? '', options.name ?? ''].join('/');
    let informer = this.#informers.get(id);
    if (!informer) {
      informer = this.#open(kind, options);
      this.#informers.set(id, informer);
    }
    // The caller names the type of the kind it asks for; the check has refused objects of another shape.
    return informer as unknown as Informer<T>;
  }

  /** Objects that are refused right now, in place of file and line their kind and name. */
  problems(): readonly ManifestProblem[] {
    return [...this.#problems.values()];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer[Symbol.asyncDispose]()));
  }

  #open(kind: GroupKind, options: WatchOptions): ClientInformer {
    const { api, clock, log, check = checkObject, random = Math.random } = this.#options;
    const objects = new ObjectSet({
      check,
      onChecked: (key, reason) => this.#onChecked(kind, key, reason),
      onListenerError: (error) => log.error('a watch listener failed', { error }),
    });
    return new ClientInformer(kind, options, { api, clock, random, log, objects });
  }

  #onChecked(kind: GroupKind, { namespace, name }: NamespacedName, reason: string | undefined): void {
    const file = `${kind.kind} ${namespace}/${name}`;
    const before = this.#problems.get(file);
    if (reason === undefined) this.#problems.delete(file);
    else if (before || this.#problems.size < MAX_PROBLEMS) this.#problems.set(file, { file, line: 1, reason });
    if (reason !== undefined && before?.reason !== reason) this.#options.log.warn('object refused', { file, reason });
  }
}

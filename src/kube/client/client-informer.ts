/**
 * One kind of an API server, listed once and watched from there. Objects are stripped before they are kept; an object
 * that its schema refuses is reported and its last good version stays.
 */
import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { NamespacedName } from '../../model/address.ts';
import type { GroupKind, Informer, KubeObject, RefusedObject, WatchOptions } from '../port.ts';
import type { ApiClient, WatchEvent } from './api-client.ts';
import { apiVersionOf, collectionPath, definitionOf, fieldSelector } from './api-path.ts';
import type { ObjectSet } from './object-set.ts';
import { absentDelayMs, retryDelayMs } from './retry-delay.ts';
import { FIRST_STATE, nextStep, type WatchInput, type WatchState } from './watch-state.ts';

export interface ClientInformerDeps {
  readonly api: ApiClient;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly objects: ObjectSet;
}

const PAGE_SIZE = '500';
/** The server ends a watch after 4 to 8 minutes, so that all of them do not end at once. */
const WATCH_SECONDS = 240;
const GONE = 410;
const NOT_FOUND = 404;

export class ClientInformer implements Informer<KubeObject> {
  readonly synced: Promise<void>;
  readonly #kind: GroupKind;
  readonly #versions: readonly string[];
  readonly #selector: string;
  readonly #deps: ClientInformerDeps;
  readonly #abort = new AbortController();
  readonly #running: Promise<void>;
  #state: WatchState = FIRST_STATE;
  #pages: KubeObject[] = [];
  #markSynced: () => void = () => {};

  constructor({ group, kind }: GroupKind, options: WatchOptions, deps: ClientInformerDeps) {
    this.#kind = { group, kind };
    this.#versions = definitionOf(this.#kind).versions;
    this.#selector = fieldSelector(options);
    this.#deps = deps;
    this.synced = new Promise((resolve) => {
      this.#markSynced = resolve;
    });
    this.#running = this.#run();
  }

  list(namespace?: string): readonly KubeObject[] {
    return this.#deps.objects.list(namespace);
  }

  get(key: NamespacedName): KubeObject | undefined {
    return this.#deps.objects.get(key);
  }

  refused(): readonly RefusedObject[] {
    return this.#deps.objects.refused();
  }

  subscribe(listener: (key: NamespacedName) => void): Disposable {
    return this.#deps.objects.subscribe(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    const { clock, random } = this.#deps;
    while (!signal.aborted) {
      const input = await this.#request(signal);
      if (signal.aborted) return;
      const { state, wait, pages } = nextStep(this.#state, input, this.#versions.length);
      this.#state = state;
      if (pages === 'publish') this.#publish();
      else if (pages === 'drop') this.#pages = [];
      if (wait === 'none') continue;
      const delayMs = wait === 'absent' ? absentDelayMs(random()) : retryDelayMs(state.failures, random());
      await clock.sleep(delayMs, signal).catch(() => undefined); // rejects when disposed
    }
  }

  async #request(signal: AbortSignal): Promise<WatchInput> {
    const { request } = this.#state;
    try {
      if (request.kind === 'list') return await this.#list(request.continueToken, signal);
      return await this.#watch(request.resourceVersion, signal);
    } catch (error) {
      if (!signal.aborted) this.#warn({ error: errorMessage(error) });
      return { kind: 'failed' };
    }
  }

  async #list(continueToken: string | undefined, signal: AbortSignal): Promise<WatchInput> {
    const query = {
      limit: PAGE_SIZE,
      ...this.#selectorQuery(),
      ...(continueToken === undefined ? {} : { continue: continueToken }),
    };
    const { status, body } = await this.#deps.api.call({ method: 'GET', path: this.#path(), query, signal });
    if (status !== 200) return this.#refused(status);
    const { items, metadata } = body as ListAnswer;
    if (!Array.isArray(items) || typeof metadata?.resourceVersion !== 'string') return this.#refused(status);
    for (const item of items) this.#pages.push(this.#named(item));
    return { kind: 'page', resourceVersion: metadata.resourceVersion, continueToken: metadata.continue || undefined };
  }

  async #watch(resourceVersion: string, signal: AbortSignal): Promise<WatchInput> {
    const { api, clock, random } = this.#deps;
    const timeoutSeconds = String(Math.round(WATCH_SECONDS * (1 + random())));
    const query = { watch: 'true', allowWatchBookmarks: 'true', resourceVersion, timeoutSeconds };
    const opened = await api.watch(this.#path(), { ...query, ...this.#selectorQuery() }, signal);
    if (!opened.events) return this.#refused(opened.status);
    const sinceMs = clock.monotonicMs();
    try {
      for await (const events of opened.events) {
        for (const event of events) {
          const end = this.#take(event);
          if (end) return end;
        }
      }
    } catch (error) {
      if (!signal.aborted) this.#deps.log.debug('watch broke off', { ...this.#kind, error: errorMessage(error) });
    }
    return { kind: 'ended', lastedMs: clock.monotonicMs() - sinceMs };
  }

  /** Takes an event in; answers how the watch ends when it does. */
  #take({ type, object }: WatchEvent): WatchInput | undefined {
    if (type === 'ERROR') return this.#refused((object as { code?: number } | undefined)?.code ?? 0);
    const item = object as KubeObject;
    const { objects } = this.#deps;
    if (type === 'ADDED' || type === 'MODIFIED') objects.set(this.#named(item));
    else if (type === 'DELETED') objects.delete(item.metadata);
    const { resourceVersion } = item.metadata;
    if (resourceVersion === undefined) return undefined;
    this.#state = nextStep(this.#state, { kind: 'progress', resourceVersion }, this.#versions.length).state;
    return undefined;
  }

  #publish(): void {
    const listed = this.#pages;
    this.#pages = [];
    this.#deps.objects.replace(listed);
    this.#markSynced();
  }

  #refused(status: number): WatchInput {
    if (status === GONE) return { kind: 'gone' };
    if (status === NOT_FOUND) return { kind: 'absent' };
    this.#warn({ status });
    return { kind: 'failed' };
  }

  #warn(fields: Readonly<Record<string, unknown>>): void {
    this.#deps.log.warn('kind not watched', { ...this.#kind, ...fields, failures: this.#state.failures + 1 });
  }

  #path(): string {
    return collectionPath(this.#kind, this.#version());
  }

  #version(): string {
    return this.#versions[this.#state.version] ?? '';
  }

  #selectorQuery(): Readonly<Record<string, string>> {
    return this.#selector === '' ? {} : { fieldSelector: this.#selector };
  }

  /** Items of a list carry neither version nor kind. */
  #named(item: KubeObject): KubeObject {
    return { ...item, apiVersion: apiVersionOf(this.#kind, this.#version()), kind: this.#kind.kind };
  }
}

interface ListAnswer {
  readonly items?: readonly KubeObject[];
  readonly metadata?: { readonly resourceVersion?: unknown; readonly continue?: string };
}

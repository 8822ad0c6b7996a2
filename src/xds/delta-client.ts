/**
 * Client side of delta discovery without its transport: responses in, requests out.
 *
 * Invariants
 *  - A response is applied before it is answered, and before anybody who waits for one of its resources is woken.
 *  - What was learned outlives the stream; on the next one it is told to the server by name and version.
 *  - A refused resource keeps its former version, in force and in that list.
 * Source: Envoy delta xDS protocol; details as in Istio's tunnel.
 */
import { errorMessage, MeshError } from '../core/errors.ts';
import type { DeltaRequest, DeltaResource, DeltaResponse, NodeInfo } from './message-codec.ts';
import type { Rejection, Subscription } from './subscription.ts';

/** Names that are waited for at one time. */
const MAX_WAITED_NAMES = 10_000;
/** Rejections spelled out in one NACK; the rest is counted. */
const MAX_NACK_REASONS = 100;

export interface ResponseOutcome {
  readonly answer: DeltaRequest;
  readonly rejections: readonly Rejection[];
}

export class DeltaClient {
  readonly #node: NodeInfo;
  readonly #subscriptions: ReadonlyMap<string, Subscription>;
  /** By type: name to the version that is in force; '' for a name that was asked for and has not come. */
  readonly #versions = new Map<string, Map<string, string>>();
  readonly #waiters = new Map<string, { readonly promise: Promise<void>; readonly resolve: () => void }>();
  readonly #awaitedTypes: Set<string>;
  readonly #ready = Promise.withResolvers<void>();

  constructor(node: NodeInfo, subscriptions: readonly Subscription[]) {
    this.#node = node;
    this.#subscriptions = new Map(subscriptions.map((subscription) => [subscription.typeUrl, subscription]));
    for (const { typeUrl } of subscriptions) this.#versions.set(typeUrl, new Map());
    this.#awaitedTypes = new Set(subscriptions.filter((s) => s.mode === 'wildcard').map((s) => s.typeUrl));
    if (this.#awaitedTypes.size === 0) this.#ready.resolve();
  }

  /** Resolves when a response of every wildcard type was accepted as a whole. Never rejects. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  get isReady(): boolean {
    return this.#awaitedTypes.size === 0;
  }

  /** The first requests of a stream, to be sent at once. */
  open(): readonly DeltaRequest[] {
    return [...this.#subscriptions.values()].map(({ typeUrl, mode }) => {
      // Subscribing to everything and to nothing in one request makes a subscription of no name.
      const names = mode === 'on-demand' ? ['*'] : [];
      const initialVersions = new Map(this.#versionsOf(typeUrl));
      return { node: this.#node, typeUrl, subscribe: names, unsubscribe: names, initialVersions, responseNonce: '' };
    });
  }

  /** Applies a response and returns its ACK or NACK. Total. */
  receive(response: DeltaResponse): ResponseOutcome {
    const { typeUrl, nonce } = response;
    const subscription = this.#subscriptions.get(typeUrl);
    const rejections = subscription ? apply(subscription, response) : []; // an unknown type is none of our business
    this.#record(response, new Set(rejections.map((rejection) => rejection.name)));
    const answer = { typeUrl, subscribe: [], unsubscribe: [], initialVersions: new Map(), responseNonce: nonce };
    if (rejections.length > 0) return { answer: { ...answer, errorMessage: nackText(rejections) }, rejections };
    if (this.#awaitedTypes.delete(typeUrl) && this.isReady) this.#ready.resolve();
    return { answer, rejections };
  }

  /**
   * Asks for one name of an on-demand type. `done` resolves when the resource or its absence has been applied; it stays
   * pending over a reconnect, so that the caller sets the limit. Throws ERR_LIMIT when too many names are waited for.
   */
  demand(typeUrl: string, name: string): { readonly request: DeltaRequest | undefined; readonly done: Promise<void> } {
    const key = waiterKey(typeUrl, name);
    const waiting = this.#waiters.get(key);
    if (waiting) return { request: undefined, done: waiting.promise };
    if (this.#waiters.size >= MAX_WAITED_NAMES) {
      throw new MeshError('ERR_LIMIT', `more than ${MAX_WAITED_NAMES} resources are waited for`);
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.set(key, { promise, resolve });
    const versions = this.#versionsOf(typeUrl);
    if (!versions.has(name)) versions.set(name, '');
    const nothing = { unsubscribe: [], initialVersions: new Map(), responseNonce: '' };
    return { request: { typeUrl, subscribe: [name], ...nothing }, done: promise };
  }

  #record({ typeUrl, resources, removed }: DeltaResponse, rejected: ReadonlySet<string>): void {
    const versions = this.#versionsOf(typeUrl);
    for (const { name, version, aliases } of resources) {
      if (!rejected.has(name)) versions.set(name, version);
      for (const asked of [name, ...aliases]) this.#wake(typeUrl, asked);
    }
    for (const name of removed) {
      versions.delete(name);
      this.#wake(typeUrl, name);
    }
  }

  #wake(typeUrl: string, name: string): void {
    const key = waiterKey(typeUrl, name);
    this.#waiters.get(key)?.resolve();
    this.#waiters.delete(key);
  }

  #versionsOf(typeUrl: string): Map<string, string> {
    return this.#versions.get(typeUrl) ?? new Map();
  }
}

function apply(subscription: Subscription, { resources, removed }: DeltaResponse): readonly Rejection[] {
  try {
    return subscription.accept(resources, removed);
  } catch (error) {
    // The state could not take the change: say so, keep the stream, and have it sent again on the next one.
    const names = [...resources.map((resource: DeltaResource) => resource.name), ...removed];
    return names.map((name) => ({ name, reason: errorMessage(error) }));
  }
}

function nackText(rejections: readonly Rejection[]): string {
  const reasons = rejections.slice(0, MAX_NACK_REASONS).map(({ name, reason }) => `${name}: ${reason}`);
  const more = rejections.length - reasons.length;
  return more > 0 ? `${reasons.join('; ')}; and ${more} more` : reasons.join('; ');
}

function waiterKey(typeUrl: string, name: string): string {
  return `${typeUrl} ${name}`;
}

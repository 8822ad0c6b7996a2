/**
 * Client side of delta discovery without its transport: responses in, requests out.
 *
 * Invariants
 *  - A response is applied before it is answered, and before anybody who waits for one of its resources is woken.
 *  - What was learned outlives the stream; on the next one it is told to the server by name and version.
 *  - A refused resource keeps its former version, in force and in that list.
 *  - What is remembered is bounded by the resources there are and the names that are waited for now.
 * Source: Envoy delta xDS protocol; details as in Istio's tunnel.
 */
import { errorMessage, MeshError } from '../core/errors.ts';
import type { DeltaRequest, DeltaResource, DeltaResponse, NodeInfo } from './message-codec.ts';
import type { Rejection, Subscription } from './subscription.ts';

/** Lookups that wait for an answer at one time. */
const MAX_WAITS = 10_000;
/** Rejections spelled out in one NACK; the rest is counted. */
const MAX_NACK_REASONS = 100;

export interface ResponseOutcome {
  readonly answer: DeltaRequest;
  readonly rejections: readonly Rejection[];
}

/** One wait for a name that was asked for. */
export interface Demanded {
  /** To be sent; undefined when the name has been asked for already and the answer is awaited. */
  readonly request: DeltaRequest | undefined;
  /**
   * Resolves when the resource or its absence has been applied, rejects with ERR_MALFORMED when it could not be. Stays
   * pending over a reconnect: the caller sets the limit.
   */
  readonly done: Promise<void>;
  /** Gives the wait up. */
  cancel(): void;
}

interface Waiter {
  resolve(): void;
  reject(reason: MeshError): void;
}

export class DeltaClient {
  readonly #node: NodeInfo;
  readonly #subscriptions: ReadonlyMap<string, Subscription>;
  /** By type: name to the version that is in force; '' for a name that was asked for and has not come. */
  readonly #versions = new Map<string, Map<string, string>>();
  readonly #waiters = new Map<string, Set<Waiter>>();
  #waiting = 0;
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
    this.#record(response, new Map(rejections.map(({ name, reason }) => [name, reason])));
    const answer = { typeUrl, subscribe: [], unsubscribe: [], initialVersions: new Map(), responseNonce: nonce };
    if (rejections.length > 0) return { answer: { ...answer, errorMessage: nackText(rejections) }, rejections };
    if (this.#awaitedTypes.delete(typeUrl) && this.isReady) this.#ready.resolve();
    return { answer, rejections };
  }

  /** Asks for one name of an on-demand type. Throws ERR_LIMIT when too many wait. */
  demand(typeUrl: string, name: string): Demanded {
    if (this.#waiting >= MAX_WAITS) throw new MeshError('ERR_LIMIT', `more than ${MAX_WAITS} lookups wait`);
    const key = waiterKey(typeUrl, name);
    const others = this.#waiters.get(key);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    promise.catch(() => undefined); // who gave up does not listen any more
    const waiter = { resolve, reject };
    if (others) others.add(waiter);
    else this.#waiters.set(key, new Set([waiter]));
    this.#waiting += 1;
    const cancel = (): void => this.#cancel(typeUrl, name, waiter);
    if (others) return { request: undefined, done: promise, cancel };
    const versions = this.#versionsOf(typeUrl);
    if (!versions.has(name)) versions.set(name, '');
    const nothing = { unsubscribe: [], initialVersions: new Map(), responseNonce: '' };
    return { request: { typeUrl, subscribe: [name], ...nothing }, done: promise, cancel };
  }

  #cancel(typeUrl: string, name: string, waiter: Waiter): void {
    const key = waiterKey(typeUrl, name);
    const waiters = this.#waiters.get(key);
    if (!waiters?.delete(waiter)) return;
    this.#waiting -= 1;
    if (waiters.size > 0) return;
    this.#waiters.delete(key);
    this.#forgetUnseen(typeUrl, name);
  }

  #record({ typeUrl, resources, removed }: DeltaResponse, rejections: ReadonlyMap<string, string>): void {
    const versions = this.#versionsOf(typeUrl);
    for (const { name, version, aliases } of resources) {
      const reason = rejections.get(name);
      if (reason === undefined) versions.set(name, version);
      for (const asked of [name, ...aliases]) this.#wake(typeUrl, asked, reason);
    }
    for (const name of removed) {
      versions.delete(name);
      this.#wake(typeUrl, name, rejections.get(name));
    }
  }

  #wake(typeUrl: string, name: string, rejected: string | undefined): void {
    const key = waiterKey(typeUrl, name);
    const waiters = this.#waiters.get(key);
    if (!waiters) return;
    this.#waiters.delete(key);
    this.#waiting -= waiters.size;
    this.#forgetUnseen(typeUrl, name);
    const error = rejected === undefined ? undefined : new MeshError('ERR_MALFORMED', `${name}: ${rejected}`);
    for (const { resolve, reject } of waiters) error ? reject(error) : resolve();
  }

  /** A name that only stood for a resource, or for nothing, is not a resource that the next stream has to hear of. */
  #forgetUnseen(typeUrl: string, name: string): void {
    const versions = this.#versionsOf(typeUrl);
    if (versions.get(name) === '') versions.delete(name);
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

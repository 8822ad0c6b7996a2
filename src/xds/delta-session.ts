/**
 * Server side of one delta stream without its transport: requests in, responses out when there is room for one.
 *
 * Invariants
 *  - Of every type one response at most is unanswered. What changes meanwhile is kept as names, so that a slow
 *    subscriber costs a set of names and then gets the newest state of each once.
 *  - The first request of a type is always answered, with nothing when there is nothing.
 *  - A request whose nonce is not the last one sent is ignored.
 *  - An address asked for that only a block of a service covers is answered with that service and, under the asked name,
 *    as removed: there is no resource of that name, and its asker waits for the name.
 *  - Policies leave after the addresses that may still list them, and addresses that may list new policies leave after
 *    these: wherever a stream breaks, the subscriber knows every policy that is listed.
 *  - Resources of a gateway are sent to replicas of that gateway only, whatever a subscriber asks for.
 * Source: Envoy delta xDS protocol; details as in Istio's control plane.
 */
import { covers, parseAddressKey, parseBlockKey } from './address-block.ts';
import type { DeltaRequest, EncodedResponse } from './message-codec.ts';
import type { TunnelNode } from './node-check.ts';
import type { Commit, ResourceStore, StoredResource } from './resource-store.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE } from './type-url.ts';
import { gatewayScope, isWaypointType, WAYPOINT_TYPES } from './waypoint-types.ts';

/** Names that one stream may ask for on demand. */
const MAX_ASKED_NAMES = 100_000;
/** What is referred to comes first: an address may list a policy. */
const SEND_ORDER: readonly string[] = [AUTHORIZATION_TYPE, ADDRESS_TYPE, ...WAYPOINT_TYPES];

/** Of one resource, for guesses. */
const USUAL_RESOURCE_BYTES = 300;

/** What one subscriber has of one type; for the status of the control plane. */
export interface TypeStatus {
  readonly typeUrl: string;
  /** Store generation of the last response sent, and of the last one accepted or refused. */
  readonly sentGeneration: number;
  readonly ackedGeneration: number;
  readonly lastNack: string | undefined;
  readonly pendingNames: number;
  /** Everything up to this generation is with the subscriber; undefined while something is on its way. */
  readonly syncedGeneration: number | undefined;
}

interface TypeState {
  readonly typeUrl: string;
  readonly wildcard: boolean;
  /** Keys asked for on demand, and the blocks that cover them. */
  readonly asked: Set<string>;
  /** Nothing has been sent yet, and all there is is wanted: one snapshot for all such subscribers. */
  everything: boolean;
  /** Names whose newest state is to be sent. */
  pending: Set<string>;
  /** A response is due although no name is pending. */
  owesAnswer: boolean;
  unanswered: { readonly nonce: string; readonly generation: number } | undefined;
  lastNonce: string;
  sentGeneration: number;
  ackedGeneration: number;
  lastNack: string | undefined;
}

export type RequestResult = 'accepted' | 'ignored' | 'too-many-names';

export class DeltaSession implements Disposable {
  readonly #store: ResourceStore;
  readonly #node: TunnelNode;
  readonly #newNonce: () => string;
  readonly #types = new Map<string, TypeState>();
  readonly #subscription: Disposable;

  /** @param onPending something may be ready for `next` */
  constructor(store: ResourceStore, node: TunnelNode, deps: { newNonce: () => string; onPending: () => void }) {
    this.#store = store;
    this.#node = node;
    this.#newNonce = deps.newNonce;
    this.#subscription = store.onCommit((commit) => {
      if (this.#markChanged(commit)) deps.onPending();
    });
  }

  receive(request: DeltaRequest): RequestResult {
    const state = this.#types.get(request.typeUrl);
    if (!state) return this.#subscribe(request);
    if (request.responseNonce !== '') {
      if (request.responseNonce !== state.lastNonce) return 'ignored';
      this.#answered(state, request.errorMessage);
    }
    return this.#ask(state, request);
  }

  /** The next response to write, undefined when nothing may be sent now. Ask again after each write and request. */
  next(): EncodedResponse | undefined {
    const due = this.#nextDue();
    if (!due) return undefined;
    return due.state.everything ? this.#snapshot(due.state) : this.#response(due.state, due.names);
  }

  /** About how many bytes `next` would give; 0: nothing. */
  nextSize(): number {
    const due = this.#nextDue();
    if (!due) return 0;
    const { state, names } = due;
    // An empty response is one all the same.
    return 1 + (state.everything ? this.#store.snapshot(state.typeUrl).length : USUAL_RESOURCE_BYTES * names.size);
  }

  status(): readonly TypeStatus[] {
    return [...this.#types.values()].map((state) => {
      const { typeUrl, sentGeneration, ackedGeneration, lastNack, pending } = state;
      const isSynced = pending.size === 0 && !state.unanswered && !state.owesAnswer && lastNack === undefined;
      const syncedGeneration = isSynced ? this.#store.generation : undefined;
      return { typeUrl, sentGeneration, ackedGeneration, lastNack, pendingNames: pending.size, syncedGeneration };
    });
  }

  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
    this.#types.clear();
  }

  #subscribe({ typeUrl, subscribe, unsubscribe, initialVersions }: DeltaRequest): RequestResult {
    const refused = new Set(unsubscribe);
    // Of a gateway's types everybody has all that is theirs and nothing else.
    const wildcard =
      isWaypointType(typeUrl) || (!refused.has('*') && (subscribe.length === 0 || subscribe.includes('*')));
    const asked = wildcard ? [] : [...initialVersions.keys(), ...subscribe].filter((key) => !refused.has(key));
    if (asked.length > MAX_ASKED_NAMES) return 'too-many-names';
    const state: TypeState = {
      typeUrl,
      wildcard,
      asked: new Set(asked),
      everything: wildcard && !isWaypointType(typeUrl) && initialVersions.size === 0,
      pending: new Set(),
      owesAnswer: true,
      unanswered: undefined,
      lastNonce: '',
      sentGeneration: 0,
      ackedGeneration: 0,
      lastNack: undefined,
    };
    this.#types.set(typeUrl, state);
    if (state.everything) return 'accepted';
    for (const key of [...state.asked]) this.#askBlocks(state, key);
    for (const name of this.#initialNames(state)) {
      const { version } = this.#store.find(typeUrl, name) ?? { version: '' };
      if (version === '' || initialVersions.get(name) !== version) state.pending.add(name);
    }
    for (const name of initialVersions.keys()) {
      if (this.#isOurs(typeUrl, name) && !this.#isKnown(state, name)) state.pending.add(name);
    }
    return 'accepted';
  }

  #nextDue(): { readonly state: TypeState; readonly names: ReadonlySet<string> } | undefined {
    const others = [...this.#types.keys()].filter((typeUrl) => !SEND_ORDER.includes(typeUrl));
    for (const typeUrl of [...SEND_ORDER, ...others]) {
      const state = this.#types.get(typeUrl);
      if (!state || state.unanswered || (typeUrl === ADDRESS_TYPE && this.#hasNewPolicies())) continue;
      const names = this.#sendable(state);
      if (names.size > 0 || state.owesAnswer) return { state, names };
    }
    return undefined;
  }

  #initialNames({ typeUrl, wildcard, asked }: TypeState): Iterable<string> {
    if (wildcard) return [...this.#store.names(typeUrl)].filter((name) => this.#isOurs(typeUrl, name));
    const names = new Set(this.#node.nodeName === '' ? [] : this.#store.namesOnNode(typeUrl, this.#node.nodeName));
    for (const key of asked) for (const name of this.#namesFor(typeUrl, key)) names.add(name);
    return names;
  }

  /** Later (un)subscriptions by name. Every asked name gets an answer, be it that it does not exist. */
  #ask(state: TypeState, { subscribe, unsubscribe }: DeltaRequest): RequestResult {
    for (const key of unsubscribe) state.asked.delete(key);
    if (state.wildcard) return 'accepted';
    for (const key of subscribe) {
      if (key === '*') continue;
      if (state.asked.size >= MAX_ASKED_NAMES) return 'too-many-names';
      state.asked.add(key);
      this.#askBlocks(state, key);
      for (const name of this.#namesFor(state.typeUrl, key)) state.pending.add(name);
    }
    return 'accepted';
  }

  /** Changes of a block's service, and of its members, concern whoever asked for an address in it. */
  #askBlocks({ typeUrl, asked }: TypeState, key: string): void {
    for (const block of this.#store.covering(typeUrl, key)) if (asked.size < MAX_ASKED_NAMES) asked.add(block);
  }

  /** Names that a key stands for; with the key itself when it is no key of a resource, to be told as removed. */
  #namesFor(typeUrl: string, key: string): Iterable<string> {
    const names = this.#store.resolve(typeUrl, key);
    return this.#store.has(typeUrl, key) ? names : [...names, key];
  }

  #isKnown({ typeUrl, wildcard }: TypeState, name: string): boolean {
    if (this.#store.find(typeUrl, name)) return true;
    return !wildcard && this.#store.resolve(typeUrl, name).size > 0;
  }

  #answered(state: TypeState, errorMessage: string | undefined): void {
    if (!state.unanswered) return; // the same answer a second time
    state.ackedGeneration = state.unanswered.generation;
    state.lastNack = errorMessage;
    state.unanswered = undefined;
  }

  #markChanged(commit: Commit): boolean {
    let marked = false;
    for (const [typeUrl, names] of commit) {
      const state = this.#types.get(typeUrl);
      if (!state) continue;
      for (const name of names) {
        for (const one of state.wildcard ? [] : this.#newlyCovered(state, name)) state.pending.add(one);
        if (state.wildcard ? !this.#isOurs(typeUrl, name) : !this.#concerns(state, name)) continue;
        state.pending.add(name);
        marked = true;
      }
    }
    return marked;
  }

  /** Whether this subscriber may see a resource of that name. */
  #isOurs(typeUrl: string, name: string): boolean {
    if (!isWaypointType(typeUrl)) return true;
    return this.#node.gateway !== undefined && name.startsWith(gatewayScope(this.#node.gateway));
  }

  /** A service whose block covers an address that was asked for before it was there, with its members. */
  #newlyCovered({ typeUrl, asked }: TypeState, name: string): ReadonlySet<string> {
    const found = new Set<string>();
    for (const alias of this.#store.find(typeUrl, name)?.aliases ?? []) {
      const block = asked.has(alias) || asked.size >= MAX_ASKED_NAMES ? undefined : parseBlockKey(alias);
      if (!block) continue;
      const addresses = [...asked].map(parseAddressKey);
      if (!addresses.some((address) => address && covers(block, address))) continue;
      asked.add(alias);
      for (const one of this.#store.resolve(typeUrl, alias)) found.add(one);
    }
    return found;
  }

  /** Whether an on-demand subscriber has or wants this resource. A removed one is told to everybody: it may have it. */
  #concerns({ typeUrl, asked }: TypeState, name: string): boolean {
    const resource = this.#store.find(typeUrl, name);
    if (!resource || asked.has(name)) return true;
    if (resource.node !== '' && resource.node === this.#node.nodeName) return true;
    if (resource.aliases.some((alias) => asked.has(alias))) return true;
    return resource.memberOf.some((service) => this.#asksFor(typeUrl, asked, service));
  }

  #asksFor(typeUrl: string, asked: ReadonlySet<string>, service: string): boolean {
    if (asked.has(service)) return true;
    return this.#store.find(typeUrl, service)?.aliases.some((alias) => asked.has(alias)) ?? false;
  }

  /** Policies that are to be sent and cannot be yet, because the response before is unanswered. */
  #hasNewPolicies(): boolean {
    const policies = this.#types.get(AUTHORIZATION_TYPE);
    if (!policies?.unanswered) return false; // else they are sent first, or have been
    for (const name of policies.pending) if (this.#store.find(AUTHORIZATION_TYPE, name)) return true;
    return false;
  }

  #sendable(state: TypeState): ReadonlySet<string> {
    const { typeUrl, pending } = state;
    const addresses = this.#types.get(ADDRESS_TYPE);
    const settled = !addresses || (addresses.pending.size === 0 && !addresses.unanswered && !addresses.everything);
    if (typeUrl !== AUTHORIZATION_TYPE || settled) return pending;
    return new Set([...pending].filter((name) => this.#store.find(typeUrl, name)));
  }

  #snapshot(state: TypeState): EncodedResponse {
    state.everything = false;
    return this.#sent(state, [this.#store.snapshot(state.typeUrl)], []);
  }

  #response(state: TypeState, names: ReadonlySet<string>): EncodedResponse {
    const found: StoredResource[] = [];
    const removed: string[] = [];
    for (const name of names) {
      const resource = this.#store.find(state.typeUrl, name);
      if (resource) found.push(resource);
      else removed.push(name);
    }
    state.pending = new Set([...state.pending].filter((name) => !names.has(name)));
    const resources = found.map((resource) => (state.wildcard ? resource.encoded : resource.encodedWithAliases()));
    return this.#sent(state, resources, removed);
  }

  #sent(state: TypeState, resources: readonly Uint8Array[], removed: readonly string[]): EncodedResponse {
    const generation = this.#store.generation;
    const nonce = this.#newNonce();
    state.owesAnswer = false;
    state.unanswered = { nonce, generation };
    state.lastNonce = nonce;
    state.sentGeneration = generation;
    return { typeUrl: state.typeUrl, nonce, systemVersion: String(generation), resources, removed };
  }
}

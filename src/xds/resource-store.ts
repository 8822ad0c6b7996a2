/**
 * What a discovery server serves: resources by type and name, each encoded once and shared by all subscribers.
 *
 * Invariants
 *  - Subscribers see whole commits only, and hear of a commit at once: nothing waits to be batched.
 *  - A resource that is set to what it is already changes nothing.
 *  - Versions are the hex xxhash64 of the bytes; layer 4 policies have none and are always sent again.
 * Source: Istio control plane (versions, aliases, what an on-demand name stands for).
 */
import createXxhash from 'xxhash-wasm';
import { BlockIndex } from './address-block.ts';
import { type DeltaResource, encodeResource } from './message-codec.ts';
import { ADDRESS_TYPE } from './type-url.ts';
import { isWaypointType } from './waypoint-types.ts';

export interface ResourceInput {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Other keys it is found by on demand: `network/ip` of each address. */
  readonly aliases?: readonly string[];
  /** For workloads: names of the services it is an endpoint of; who asks for one of them gets it too. */
  readonly memberOf?: readonly string[];
  /** For workloads: the tunnel of this node gets it unasked. */
  readonly node?: string;
}

export interface StoredResource extends Required<Omit<ResourceInput, 'node'>> {
  readonly node: string;
  readonly version: string;
  /** As part of a response, without aliases. */
  readonly encoded: Uint8Array;
  /** The same with aliases, for subscribers on demand; made when the first one needs it. */
  encodedWithAliases(): Uint8Array;
}

/** Names that one commit changed or deleted, by type. */
export type Commit = ReadonlyMap<string, ReadonlySet<string>>;

interface TypeTable {
  readonly byName: Map<string, StoredResource>;
  readonly byAlias: Map<string, Set<string>>;
  /** Aliases that are blocks of addresses. */
  readonly blocks: BlockIndex;
  readonly byGroup: Map<string, Set<string>>;
  readonly byNode: Map<string, Set<string>>;
  /** Undefined: changed since it was made. */
  snapshot: Buffer | undefined;
}

const NOTHING: ReadonlySet<string> = new Set();

export class ResourceStore {
  readonly #hash: (bytes: Uint8Array) => bigint;
  readonly #tables = new Map<string, TypeTable>();
  readonly #listeners = new Set<(commit: Commit) => void>();
  #staged = new Map<string, Map<string, ResourceInput | undefined>>();
  #generation = 0;

  private constructor(hash: (bytes: Uint8Array) => bigint) {
    this.#hash = hash;
  }

  static async create(): Promise<ResourceStore> {
    const { h64Raw } = await createXxhash();
    return new ResourceStore(h64Raw);
  }

  /** Number of the last commit that changed anything. */
  get generation(): number {
    return this.#generation;
  }

  /** Stages a resource for the next commit. */
  set(typeUrl: string, resource: ResourceInput): void {
    this.#stage(typeUrl, resource.name, resource);
  }

  /** Stages a removal for the next commit. */
  delete(typeUrl: string, name: string): void {
    this.#stage(typeUrl, name, undefined);
  }

  /** Stages whatever makes the type hold exactly these resources. */
  replaceAll(typeUrl: string, resources: Iterable<ResourceInput>): void {
    const wanted = new Set<string>();
    for (const resource of resources) {
      wanted.add(resource.name);
      this.set(typeUrl, resource);
    }
    for (const name of this.names(typeUrl)) if (!wanted.has(name)) this.delete(typeUrl, name);
  }

  /** Puts what is staged in force and tells subscribers. Returns what really changed. */
  commit(): Commit {
    const staged = this.#staged;
    this.#staged = new Map();
    const commit = new Map<string, ReadonlySet<string>>();
    for (const [typeUrl, changes] of staged) {
      const changed = new Set<string>();
      for (const [name, input] of changes) if (this.#apply(typeUrl, name, input)) changed.add(name);
      if (changed.size > 0) commit.set(typeUrl, changed);
    }
    if (commit.size === 0) return commit;
    this.#generation += 1;
    for (const listener of this.#listeners) listener(commit);
    return commit;
  }

  /** Calls `listener` inside every commit that changed something, until disposed. */
  onCommit(listener: (commit: Commit) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  find(typeUrl: string, name: string): StoredResource | undefined {
    return this.#tables.get(typeUrl)?.byName.get(name);
  }

  /** All resources of a type as they stand in a response, one after the other; made once for all who ask meanwhile. */
  snapshot(typeUrl: string): Uint8Array {
    const table = this.#tables.get(typeUrl);
    if (!table) return new Uint8Array();
    table.snapshot ??= Buffer.concat([...table.byName.values()].map(({ encoded }) => encoded));
    return table.snapshot;
  }

  /** A hash of a resource's bytes, the same in every replica; empty when there is none. */
  digest(typeUrl: string, name: string): string {
    const resource = this.find(typeUrl, name);
    return resource ? this.#hash(resource.bytes).toString(16) : '';
  }

  names(typeUrl: string): Iterable<string> {
    return this.#tables.get(typeUrl)?.byName.keys() ?? [];
  }

  /** Aliases of blocks of addresses that cover the address of a key. */
  covering(typeUrl: string, key: string): readonly string[] {
    return this.#tables.get(typeUrl)?.blocks.covering(key) ?? [];
  }

  /** Whether a key is the name or an alias of a resource, as opposed to an address that a block covers. */
  has(typeUrl: string, key: string): boolean {
    const table = this.#tables.get(typeUrl);
    return table !== undefined && (table.byName.has(key) || table.byAlias.has(key));
  }

  /**
   * Names that a key asked on demand stands for: the resource itself, those with that alias or with a block of addresses
   * that covers it, and their members.
   */
  resolve(typeUrl: string, key: string): ReadonlySet<string> {
    const table = this.#tables.get(typeUrl);
    if (!table) return NOTHING;
    const found = new Set<string>(table.byName.has(key) ? [key] : table.byAlias.get(key));
    for (const block of table.blocks.covering(key)) for (const name of table.byAlias.get(block) ?? []) found.add(name);
    for (const name of [...found]) for (const member of table.byGroup.get(name) ?? []) found.add(member);
    return found;
  }

  /** Names of the resources on one node. */
  namesOnNode(typeUrl: string, node: string): ReadonlySet<string> {
    return this.#tables.get(typeUrl)?.byNode.get(node) ?? NOTHING;
  }

  #stage(typeUrl: string, name: string, input: ResourceInput | undefined): void {
    const changes = this.#staged.get(typeUrl) ?? new Map<string, ResourceInput | undefined>();
    this.#staged.set(typeUrl, changes.set(name, input));
  }

  #apply(typeUrl: string, name: string, input: ResourceInput | undefined): boolean {
    const table = this.#table(typeUrl);
    const old = table.byName.get(name);
    if (input ? old && isSame(old, input) : !old) return false;
    table.snapshot = undefined;
    if (old) unindex(table, old);
    if (input) index(table, this.#encode(typeUrl, input));
    return true;
  }

  #encode(typeUrl: string, input: ResourceInput): StoredResource {
    const { name, bytes, aliases = [], memberOf = [], node = '' } = input;
    const version = typeUrl === ADDRESS_TYPE || isWaypointType(typeUrl) ? this.#hash(bytes).toString(16) : '';
    const resource: DeltaResource = { name, version, aliases: [], typeUrl, bytes };
    const encoded = encodeResource(resource);
    let withAliases: Uint8Array | undefined = aliases.length === 0 ? encoded : undefined;
    const encodedWithAliases = (): Uint8Array => {
      withAliases ??= encodeResource({ ...resource, aliases });
      return withAliases;
    };
    return { name, bytes, aliases, memberOf, node, version, encoded, encodedWithAliases };
  }

  #table(typeUrl: string): TypeTable {
    const known = this.#tables.get(typeUrl);
    if (known) return known;
    const table: TypeTable = {
      snapshot: undefined,
      byName: new Map(),
      byAlias: new Map(),
      blocks: new BlockIndex(),
      byGroup: new Map(),
      byNode: new Map(),
    };
    this.#tables.set(typeUrl, table);
    return table;
  }
}

function isSame(old: StoredResource, { bytes, aliases = [], memberOf = [], node = '' }: ResourceInput): boolean {
  const sameList = (a: readonly string[], b: readonly string[]): boolean => a.join('\n') === b.join('\n');
  if (old.node !== node || !sameList(old.aliases, aliases) || !sameList(old.memberOf, memberOf)) return false;
  return Buffer.compare(old.bytes, bytes) === 0;
}

function index(table: TypeTable, resource: StoredResource): void {
  table.byName.set(resource.name, resource);
  for (const [map, key] of indexKeys(table, resource)) map.set(key, (map.get(key) ?? new Set()).add(resource.name));
  for (const alias of resource.aliases) table.blocks.add(alias);
}

function unindex(table: TypeTable, resource: StoredResource): void {
  table.byName.delete(resource.name);
  for (const [map, key] of indexKeys(table, resource)) {
    const names = map.get(key);
    names?.delete(resource.name);
    if (names?.size === 0) map.delete(key);
  }
  for (const alias of resource.aliases) if (!table.byAlias.has(alias)) table.blocks.remove(alias);
}

function indexKeys(
  table: TypeTable,
  { aliases, memberOf, node }: StoredResource,
): [Map<string, Set<string>>, string][] {
  return [
    ...aliases.map((key): [Map<string, Set<string>>, string] => [table.byAlias, key]),
    ...memberOf.map((key): [Map<string, Set<string>>, string] => [table.byGroup, key]),
    ...(node === '' ? [] : [[table.byNode, node] as [Map<string, Set<string>>, string]]),
  ];
}

/**
 * Brings the statuses of objects to what the last translation says, one write at a time.
 *
 * Invariants
 *  - Levels, not events: only the newest wish counts, and what is there already is not written.
 *  - Only the replica that leads writes; who begins to lead writes what is wanted then.
 *  - A failed write is tried again, at most `MAX_ATTEMPTS` times until the wish changes.
 */
import assert from 'node:assert/strict';
import type { Clock } from '../../core/clock.ts';
import { errorMessage, MeshError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { GroupKind, KubeObject, KubeWriter } from '../../kube/index.ts';
import type { NamespacedName } from '../../model/address.ts';
import type { StatusPatch } from '../ir.ts';
import type { Leadership } from '../leader/leader-election.ts';
import { diffStatus } from './status-diff.ts';

export interface StatusWriterDeps {
  readonly writer: KubeWriter;
  readonly find: (kind: GroupKind, key: NamespacedName) => KubeObject | undefined;
  readonly leadership: Leadership;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Conditions that nobody but this control plane writes: those of an earlier process are ours to take back. */
export const OWN_CONDITION_TYPES = [
  'istio.io/WaypointBound',
  'istio.io/WaypointMissing',
  'ZtunnelAccepted',
  'WaypointAccepted',
  'culvert.dev/Served',
  'culvert.dev/Distributed',
] as const;

const MAX_ATTEMPTS = 5;
const RETRY_MS = 500;

export class StatusWriter implements AsyncDisposable {
  readonly #deps: StatusWriterDeps;
  readonly #owned = new Map<string, Set<string>>();
  /** Wishes that were found fulfilled, with the object they were held against. */
  #fulfilled = new Map<string, { readonly wanted: StatusPatch; readonly object: KubeObject }>();
  readonly #abort = new AbortController();
  #given: readonly StatusPatch[] = [];
  #wanted: ReadonlyMap<string, WantedStatus> = new Map();
  #generation = 0;
  #running: Promise<void> | undefined;
  readonly #leadership: Disposable;

  constructor(deps: StatusWriterDeps) {
    this.#deps = deps;
    this.#leadership = deps.leadership.subscribe(() => this.#write());
  }

  /** Replaces the wish; patches of one object may come in several parts. */
  want(statuses: readonly StatusPatch[]): void {
    if (!sameElements(statuses, this.#given)) this.#wanted = mergeParts(statuses, this.#wanted);
    this.#given = statuses;
    this.#generation += 1;
    this.#write();
  }

  /** Resolves when nothing is being written. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#leadership[Symbol.dispose]();
    this.#abort.abort();
    await this.idle();
  }

  #write(): void {
    if (!this.#deps.leadership.leading) return;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  #mayWrite(): boolean {
    return this.#deps.leadership.leading && !this.#abort.signal.aborted;
  }

  async #run(): Promise<void> {
    for (let attempt = 1; attempt <= MAX_ATTEMPTS && this.#mayWrite(); ) {
      const generation = this.#generation;
      const failed = await this.#writeAll(generation);
      if (generation !== this.#generation) attempt = 1;
      else if (!failed) return;
      else {
        attempt += 1;
        await this.#deps.clock.sleep(RETRY_MS, this.#abort.signal).catch(() => undefined);
      }
    }
  }

  async #writeAll(generation: number): Promise<boolean> {
    let failed = false;
    const { find } = this.#deps;
    for (const [id, { merged: wanted }] of this.#wanted) {
      const object = find(wanted.kind, wanted.key);
      const before = this.#fulfilled.get(id);
      if (!object || (before?.wanted === wanted && before.object === object)) continue;
      if (generation !== this.#generation || !this.#mayWrite()) return failed;
      if (!(await this.#writeOne(id, wanted, object))) failed = true;
    }
    for (const id of this.#fulfilled.keys()) if (!this.#wanted.has(id)) this.#fulfilled.delete(id);
    return failed;
  }

  async #writeOne(id: string, wanted: StatusPatch, object: KubeObject): Promise<boolean> {
    const { writer, clock, log } = this.#deps;
    const owned = this.#owned.get(id) ?? new Set<string>(OWN_CONDITION_TYPES);
    const patch = diffStatus(object, wanted, { owned, now: new Date(clock.nowMs()).toISOString() });
    for (const { type } of wanted.conditions) owned.add(type);
    if (owned.size > OWN_CONDITION_TYPES.length) this.#owned.set(id, owned);
    if (!patch) {
      this.#fulfilled.set(id, { wanted, object });
      return true;
    }
    try {
      await writer.patchStatus(wanted.kind, wanted.key, patch);
      return true;
    } catch (error) {
      if (error instanceof MeshError && error.code === 'ERR_NOT_FOUND') return true;
      log.warn('status not written', { kind: wanted.kind.kind, ...wanted.key, error: errorMessage(error) });
      return false;
    }
  }
}

function statusId({ kind, key }: StatusPatch): string {
  return `${kind.kind}.${kind.group}/${key.namespace}/${key.name}`;
}

interface WantedStatus {
  readonly parts: readonly StatusPatch[];
  readonly merged: StatusPatch;
}

/** One patch for each object; of an object whose parts are those of before the same one. */
function mergeParts(
  statuses: readonly StatusPatch[],
  before: ReadonlyMap<string, WantedStatus>,
): ReadonlyMap<string, WantedStatus> {
  const parts = new Map<string, StatusPatch[]>();
  for (const status of statuses) {
    const id = statusId(status);
    const known = parts.get(id);
    if (known) known.push(status);
    else parts.set(id, [status]);
  }
  return new Map(
    [...parts].map(([id, own]) => {
      const known = before.get(id);
      return [id, known && sameElements(known.parts, own) ? known : { parts: own, merged: merge(own) }];
    }),
  );
}

function merge(parts: readonly StatusPatch[]): StatusPatch {
  const [first] = parts;
  assert(first, 'an object is wanted by its first part');
  if (parts.length === 1) return first;
  const fields = parts.flatMap((part) => Object.entries(part.fields ?? {}));
  return { ...first, conditions: parts.flatMap(({ conditions }) => conditions), fields: Object.fromEntries(fields) };
}

function sameElements<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((one, index) => one === b[index]);
}

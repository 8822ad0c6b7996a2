/**
 * Brings the statuses of objects to what the last translation says, one write at a time.
 *
 * Invariants
 *  - Levels, not events: only the newest wish counts, and what is there already is not written.
 *  - Only the replica that leads writes; who begins to lead writes what is wanted then.
 *  - A failed write is tried again, at most `MAX_ATTEMPTS` times until the wish changes.
 */
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
  readonly #abort = new AbortController();
  #wanted: readonly StatusPatch[] = [];
  #generation = 0;
  #running: Promise<void> | undefined;
  readonly #leadership: Disposable;

  constructor(deps: StatusWriterDeps) {
    this.#deps = deps;
    this.#leadership = deps.leadership.subscribe(() => this.#write());
  }

  /** Replaces the wish; patches of one object may come in several parts. */
  want(statuses: readonly StatusPatch[]): void {
    this.#wanted = mergeParts(statuses);
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
    for (const wanted of this.#wanted) {
      if (generation !== this.#generation || !this.#mayWrite()) return failed;
      if (!(await this.#writeOne(wanted))) failed = true;
    }
    return failed;
  }

  async #writeOne(wanted: StatusPatch): Promise<boolean> {
    const { writer, find, clock, log } = this.#deps;
    const object = find(wanted.kind, wanted.key);
    if (!object) return true;
    const id = statusId(wanted);
    const owned = this.#owned.get(id) ?? new Set<string>(OWN_CONDITION_TYPES);
    const patch = diffStatus(object, wanted, { owned, now: new Date(clock.nowMs()).toISOString() });
    for (const { type } of wanted.conditions) owned.add(type);
    if (owned.size > OWN_CONDITION_TYPES.length) this.#owned.set(id, owned);
    if (!patch) return true;
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

function mergeParts(statuses: readonly StatusPatch[]): readonly StatusPatch[] {
  const merged = new Map<string, StatusPatch>();
  for (const status of statuses) {
    const id = statusId(status);
    const before = merged.get(id);
    const conditions = [...(before?.conditions ?? []), ...status.conditions];
    merged.set(id, before ? { ...before, conditions, fields: { ...before.fields, ...status.fields } } : status);
  }
  return [...merged.values()];
}

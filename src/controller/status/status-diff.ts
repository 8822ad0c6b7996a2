/** What has to be written so that an object's status says what it should. Pure. */
import type { KubeObject } from '../../kube/index.ts';
import type { StatusPatch } from '../ir.ts';

interface WrittenCondition {
  readonly type?: string;
  readonly status?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
  readonly observedGeneration?: string | number;
}

/** Istio's kinds write the generation as text, the Gateway API as a number; core kinds have none. */
function observedGeneration(group: string, generation: number | undefined): string | number | undefined {
  if (group === '' || generation === undefined) return undefined;
  return group.endsWith('.istio.io') ? String(generation) : generation;
}

/**
 * The patch, or undefined when nothing is to be written: a change of times alone is none.
 * @param owned types that this controller has written for the object before, so that they can go
 * @param now RFC 3339, for conditions that change
 */
export function diffStatus(
  object: KubeObject,
  wanted: StatusPatch,
  { owned, now }: { readonly owned: ReadonlySet<string>; readonly now: string },
): Readonly<Record<string, unknown>> | undefined {
  const status = (object as { status?: Record<string, unknown> }).status ?? {};
  const present = Array.isArray(status.conditions) ? (status.conditions as WrittenCondition[]) : [];
  const generation = observedGeneration(wanted.kind.group, object.metadata.generation);
  let changed = false;
  const conditions = wanted.conditions.map((condition) => {
    const before = present.find(({ type }) => type === condition.type);
    const same =
      before?.status === condition.status &&
      before.reason === condition.reason &&
      before.message === condition.message &&
      (generation === undefined || String(before.observedGeneration) === String(generation));
    if (!same) changed = true;
    const kept = before?.status === condition.status ? before.lastTransitionTime : undefined;
    return {
      ...condition,
      lastTransitionTime: kept ?? now,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    };
  });
  const types = new Set(wanted.conditions.map(({ type }) => type));
  const stale = present.some(({ type }) => type !== undefined && owned.has(type) && !types.has(type));
  if (stale) changed = true;
  const fields = wanted.fields ?? {};
  for (const [name, value] of Object.entries(fields)) if (!includes(status[name], value)) changed = true;
  if (!changed) return undefined;
  const hasConditions = conditions.length > 0 || stale;
  return { ...fields, ...(hasConditions ? { conditions } : {}) };
}

/** Whether `present` says at least what `wanted` says: an API server may add defaults. */
function includes(present: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(present) &&
      present.length === wanted.length &&
      wanted.every((value, index) => includes(present[index], value))
    );
  }
  if (typeof wanted !== 'object' || wanted === null) return Object.is(present, wanted);
  if (typeof present !== 'object' || present === null) return false;
  return Object.entries(wanted).every(([key, value]) => includes((present as Record<string, unknown>)[key], value));
}

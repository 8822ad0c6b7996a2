/** The merge patch that changes a status and no condition of another writer. Pure. */
import { isDeepStrictEqual } from 'node:util';
import { mergePatch } from '../merge-patch.ts';
import type { KubeObject, MergePatch } from '../port.ts';

interface Condition {
  readonly type?: unknown;
}

/**
 * A merge patch replaces lists whole, so the new list of conditions is made from the present one: the writer's own
 * types (`owned`) that the patch leaves out go, everybody else's stay.
 * @returns undefined when nothing would change; with conditions the patch holds only for the version that was read
 */
export function statusPatch(
  present: KubeObject & { readonly status?: unknown },
  patch: MergePatch,
  owned: ReadonlySet<string>,
): MergePatch | undefined {
  const before = (present.status ?? {}) as Readonly<Record<string, unknown>>;
  const own = patch.conditions;
  if (!Array.isArray(own)) {
    return isDeepStrictEqual(mergePatch(before, patch), before) ? undefined : { status: patch };
  }
  const given = new Set((own as readonly Condition[]).map(({ type }) => type));
  const others = (Array.isArray(before.conditions) ? (before.conditions as readonly Condition[]) : []).filter(
    ({ type }) => !given.has(type) && !(typeof type === 'string' && owned.has(type)),
  );
  const status = { ...patch, conditions: [...others, ...own] };
  if (isDeepStrictEqual(mergePatch(before, status), before)) return undefined;
  return { metadata: { resourceVersion: present.metadata.resourceVersion }, status };
}

/** Types of the conditions in a patch. */
export function conditionTypes(patch: MergePatch): readonly string[] {
  const conditions = Array.isArray(patch.conditions) ? (patch.conditions as readonly Condition[]) : [];
  return conditions.map(({ type }) => type).filter((type) => typeof type === 'string');
}

/**
 * JSON merge patch (RFC 7396) over plain data; inputs stay untouched.
 * `mergeStatus` adds what server-side apply adds for conditions: entries are kept apart by their `type`.
 */

/** `patch` applied to `target`: null removes, objects merge, anything else replaces. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else define(result, name, mergePatch(result[name], value));
  }
  return result;
}

/**
 * Two patches as one: nulls stay, so that they still remove when the result is applied. Fields keep their shape: what
 * one patch writes as a map the other does not write as a plain value.
 */
export function composePatches(first: unknown, second: unknown): unknown {
  if (!isObject(second) || !isObject(first)) return second;
  const result: Record<string, unknown> = { ...first };
  for (const [name, value] of Object.entries(second)) define(result, name, composePatches(result[name], value));
  return result;
}

/** Applies the patch of one writer to an object: conditions of other writers, told apart by type, stay. */
export function mergeObject<T extends object>(object: T, patch: Readonly<Record<string, unknown>>): T {
  const merged = mergePatch(object, patch) as T & { status?: Record<string, unknown> };
  const before = conditionsOf(object);
  const own = conditionsOf(patch);
  if (own === undefined || before === undefined) return merged;
  const types = new Set(own.map((condition) => condition.type));
  const conditions = [...before.filter((condition) => !types.has(condition.type)), ...own];
  return { ...merged, status: { ...merged.status, conditions } };
}

interface Condition {
  readonly type?: unknown;
}

function conditionsOf(object: object): readonly Condition[] | undefined {
  const { status } = object as { status?: unknown };
  const conditions = isObject(status) ? status.conditions : undefined;
  return Array.isArray(conditions) ? conditions.filter(isObject) : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Sets an own property, also one named like a setter of Object.prototype. */
function define(target: Record<string, unknown>, name: string, value: unknown): void {
  Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
}

/** Every kind that is known, and the check of an object against its kind. */
import type { z } from 'zod';
import { CORE_KINDS } from './core-kinds.ts';
import { CULVERT_KINDS } from './culvert-kinds.ts';
import { GATEWAY_KINDS } from './gateway-kinds.ts';
import { INSTALL_KINDS } from './install-kinds.ts';
import { type KindDefinition, objectMeta } from './kind.ts';
import { NETWORKING_KINDS } from './networking-kinds.ts';
import { SECURITY_KINDS } from './security-kinds.ts';

export const KINDS: readonly KindDefinition[] = [
  ...CORE_KINDS,
  ...SECURITY_KINDS,
  ...NETWORKING_KINDS,
  ...GATEWAY_KINDS,
  ...INSTALL_KINDS,
  ...CULVERT_KINDS,
];

const BY_NAME: ReadonlyMap<string, KindDefinition> = new Map(KINDS.map((kind) => [`${kind.group}/${kind.kind}`, kind]));

export interface SchemaFault {
  readonly path: readonly (string | number)[];
  readonly reason: string;
}

/** The definition of a kind by its group; undefined for kinds of others. */
export function findKind(group: string, kind: string): KindDefinition | undefined {
  return BY_NAME.get(`${group}/${kind}`);
}

/** What is wrong with an object by its kind's schema, path by path; nothing is said about kinds of others. Total. */
export function checkObject(object: { readonly apiVersion: string; readonly kind: string }): readonly SchemaFault[] {
  const [group, version] = object.apiVersion.includes('/') ? object.apiVersion.split('/') : ['', object.apiVersion];
  const { metadata } = object as { readonly metadata?: unknown };
  const meta = objectMeta.safeParse(metadata ?? {});
  if (!meta.success) return meta.error.issues.flatMap((issue) => toFaults(issue, ['metadata']));
  const definition = findKind(group ?? '', object.kind);
  if (!definition) return [];
  if (!definition.versions.includes(version ?? '')) {
    return [{ path: ['apiVersion'], reason: `version is not one of ${definition.versions.join(', ')}` }];
  }
  const {
    apiVersion: _version,
    kind: _kind,
    metadata: _metadata,
    ...body
  } = object as typeof object & { metadata?: unknown };
  // Manifests in the wild carry empty keys (`spec:`), which mean the same as none.
  const given = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
  const result = definition.body.safeParse(given);
  if (!result.success) return result.error.issues.flatMap((issue) => toFaults(issue, []));
  const spec = (result.data.spec ?? {}) as Readonly<Record<string, unknown>>;
  const broken = (definition.rules ?? []).filter((rule) => !rule.holds(spec));
  return broken.map(({ message }) => ({ path: ['spec'], reason: message }));
}

function toFaults(issue: z.core.$ZodIssue, base: readonly (string | number)[]): SchemaFault[] {
  const path = [...base, ...issue.path.map((step) => (typeof step === 'number' ? step : String(step)))];
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...path, key], reason: 'unknown field' }));
  }
  if (issue.code === 'invalid_key') return [{ path, reason: issue.issues[0]?.message ?? issue.message }];
  return [{ path, reason: issue.message }];
}

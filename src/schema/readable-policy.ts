/**
 * What can still be told of an AuthorizationPolicy or PeerAuthentication that its schema refuses. Such an object guards
 * something; whoever enforces policies puts the strictest reading in its place. Total, and never widens:
 *
 *  - An action that cannot be read is DENY; so is none at all when a field stands there that nobody knows.
 *  - A PeerAuthentication is STRICT.
 *  - A selector that cannot be read selects everything that the object's namespace holds for.
 *  - What would not be enforced by tunnels if it could be understood is not enforced by them now.
 */
import type { z } from 'zod';
import type { labels } from './kind.ts';
import { AUTHORIZATION_POLICY_FIELDS } from './security-kinds.ts';

export type ReadablePolicy =
  /** Not the tunnels'. `reason` is for people. */
  | { readonly enforced: false; readonly reason: string }
  | {
      readonly enforced: true;
      readonly strictest: 'allow-nothing' | 'deny-all' | 'deny-without-identity';
      readonly dryRun: boolean;
      /** Undefined: no selector, or none that can be read. */
      readonly selector: Readonly<z.infer<typeof labels>> | undefined;
    };

export interface RefusedPolicy {
  readonly kind: string;
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly spec?: unknown;
}

type Fields = Readonly<Record<string, unknown>>;

export function readablePolicy({ kind, metadata, spec }: RefusedPolicy): ReadablePolicy {
  const fields = fieldsOf(spec ?? {});
  const selector = selectorOf(fields);
  if (kind === 'PeerAuthentication') {
    return { enforced: true, strictest: 'deny-without-identity', dryRun: false, selector };
  }
  const dryRun = metadata.annotations?.['istio.io/dry-run']?.toLowerCase() === 'true';
  if (!fields) return { enforced: true, strictest: 'deny-all', dryRun, selector };
  const { action, targetRef, targetRefs = targetRef === undefined ? undefined : [targetRef] } = fields;
  if (fields.selector === undefined && isTargets(targetRefs)) {
    return { enforced: false, reason: 'ztunnel does not enforce it: it is for a waypoint' };
  }
  if (action === 'AUDIT' || action === 'CUSTOM') {
    return { enforced: false, reason: `ztunnel does not support the ${action} action` };
  }
  const isComplete = Object.keys(fields).every((field) => AUTHORIZATION_POLICY_FIELDS.includes(field));
  const isAllow = action === 'ALLOW' || (action === undefined && isComplete);
  return { enforced: true, strictest: isAllow ? 'allow-nothing' : 'deny-all', dryRun, selector };
}

function selectorOf(spec: Fields | undefined): Readonly<Record<string, string>> | undefined {
  if (!spec || spec.targetRef !== undefined || spec.targetRefs !== undefined) return undefined;
  const { matchLabels, ...others } = fieldsOf(spec.selector) ?? {};
  const found = fieldsOf(matchLabels);
  if (!found || Object.keys(others).length > 0) return undefined;
  const isReadable = Object.values(found).every((value) => typeof value === 'string');
  return isReadable ? (found as Readonly<Record<string, string>>) : undefined; // every value was seen to be text
}

function isTargets(targets: unknown): boolean {
  if (!Array.isArray(targets) || targets.length === 0) return false;
  return targets.every((target) => {
    const { kind, name } = fieldsOf(target) ?? {};
    return typeof kind === 'string' && typeof name === 'string';
  });
}

function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

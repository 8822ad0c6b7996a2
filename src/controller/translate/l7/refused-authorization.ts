/**
 * What a waypoint enforces in place of an AuthorizationPolicy that cannot be understood: its strictest reading, so that
 * what it guards is not open until it is mended.
 */
import type { RefusedObject } from '../../../kube/index.ts';
import type { HttpAuthorization } from '../../../model/l7/index.ts';
import { type RefusedPolicy, readablePolicy } from '../../../schema/index.ts';
import { namespaceOf } from '../../resources.ts';
import type { TargetRef } from './policy-targets.ts';

export interface StrictestAuthorization {
  readonly policy: HttpAuthorization;
  readonly targets: readonly TargetRef[];
}

/** Undefined for other kinds. */
export function strictestAuthorization({ object }: RefusedObject): StrictestAuthorization | undefined {
  if (object.kind !== 'AuthorizationPolicy') return undefined;
  const readable = readablePolicy(object as RefusedPolicy); // its spec is unknown there as well
  const isAllow = readable.enforced && readable.strictest === 'allow-nothing';
  const policy: HttpAuthorization = {
    namespace: namespaceOf(object),
    name: object.metadata.name,
    action: isAllow ? 'ALLOW' : 'DENY',
    provider: '',
    dryRun: readable.enforced && readable.dryRun,
    rules: isAllow ? [] : [{ sources: [], operations: [], conditions: [] }],
  };
  return { policy, targets: readable.enforced ? [] : targetsOf((object as { spec?: unknown }).spec) };
}

function targetsOf(spec: unknown): readonly TargetRef[] {
  const { targetRef, targetRefs = targetRef === undefined ? [] : [targetRef] } = (spec ?? {}) as Record<
    string,
    unknown
  >;
  if (!Array.isArray(targetRefs)) return [];
  return targetRefs.filter((one): one is TargetRef => typeof one?.kind === 'string' && typeof one?.name === 'string');
}

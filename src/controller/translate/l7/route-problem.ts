/** What is wrong with a route, as the condition that tells its author. Source: Gateway API, Istio control plane (reasons). */
import type { BackendRef } from '../../../model/l7/index.ts';

export interface RouteProblem {
  /** `ResolvedRefs`: something it refers to. `PartiallyInvalid`: a rule cannot be understood and is left out. */
  readonly condition: 'ResolvedRefs' | 'PartiallyInvalid';
  readonly reason:
    | 'BackendNotFound'
    | 'RefNotPermitted'
    | 'InvalidKind'
    | 'InvalidFilter'
    | 'InvalidDestination'
    | 'UnsupportedValue';
  readonly message: string;
}

/** A part of a route as translated, and what was wrong with it. */
export interface Checked<T> {
  readonly value: T;
  readonly problems: readonly RouteProblem[];
}

export function invalidFilter(message: string): RouteProblem {
  return { condition: 'ResolvedRefs', reason: 'InvalidFilter', message };
}

export function unsupported(message: string): RouteProblem {
  return { condition: 'PartiallyInvalid', reason: 'UnsupportedValue', message };
}

export type ResolvedBackend = Pick<BackendRef, 'cluster' | 'port'> | RouteProblem;

export function isProblem(resolved: ResolvedBackend): resolved is RouteProblem {
  return 'reason' in resolved;
}

/**
 * VirtualServices that hand their routes on to others. The delegate's routes take the place of the delegating one; a
 * request must match both. Delegates have no hosts, and hand nothing on themselves.
 * Source: Istio (Delegate, its merging of matches).
 */
import type { DestinationSpec, StringMatchSpec, VirtualHttpMatch, VirtualHttpRoute } from '../../../../schema/index.ts';
import { namespaceOf, type VirtualService } from '../../../resources.ts';
import { fullHostname } from './destination.ts';

export interface DelegateContext {
  /** By `namespace/name`. */
  readonly find: (key: string) => VirtualService | undefined;
  readonly clusterDomain: string;
  readonly report: (problem: string) => void;
}

export function isDelegate({ spec }: VirtualService): boolean {
  return (spec.hosts ?? []).length === 0;
}

/** The routes of the object, delegates put in their place. */
export function withDelegates(
  object: VirtualService,
  { find, clusterDomain, report }: DelegateContext,
): readonly VirtualHttpRoute[] {
  return (object.spec.http ?? []).flatMap((route) => {
    const { delegate } = route;
    if (!delegate) return [route];
    const key = `${delegate.namespace || namespaceOf(object)}/${delegate.name ?? ''}`;
    const found = find(key);
    if (!found || !isDelegate(found)) {
      report(`delegate ${key} does not exist, or has hosts of its own`);
      return [];
    }
    return (found.spec.http ?? []).flatMap((own) => {
      if (own.delegate) {
        report(`delegate ${key} delegates itself; that route is left out`);
        return [];
      }
      const match = mergeMatches(route.match, own.match);
      if (match && match.length === 0) {
        report(`delegate ${key}: a route matches nothing that is delegated to it`);
        return [];
      }
      const { delegate: _, match: __, ...rest } = route;
      return [{ ...rest, ...qualified(own, namespaceOf(found), clusterDomain), ...(match ? { match } : {}) }];
    });
  });
}

/** Short names of a delegate are those of its own namespace. */
function qualified(route: VirtualHttpRoute, namespace: string, clusterDomain: string): VirtualHttpRoute {
  const full = (one: DestinationSpec): DestinationSpec => ({
    ...one,
    host: fullHostname(one.host, namespace, clusterDomain),
  });
  const { route: targets, mirror, mirrors } = route;
  return {
    ...route,
    ...(targets ? { route: targets.map((one) => ({ ...one, destination: full(one.destination) })) } : {}),
    ...(mirror ? { mirror: full(mirror) } : {}),
    ...(mirrors ? { mirrors: mirrors.map((one) => ({ ...one, destination: full(one.destination) })) } : {}),
  };
}

type Matches = VirtualHttpRoute['match'];

/** Undefined: everything; an empty list: nothing. */
function mergeMatches(root: Matches, own: Matches): Matches {
  if (!root || root.length === 0) return own;
  if (!own || own.length === 0) return root;
  const pairs = root.flatMap((a) => own.map((b) => mergeMatch(a, b)));
  return pairs.filter((match) => match !== undefined);
}

/** Undefined when nothing fits both. */
function mergeMatch(a: VirtualHttpMatch, b: VirtualHttpMatch): VirtualHttpMatch | undefined {
  const merged: Record<string, unknown> = { ...a };
  for (const [field, value] of Object.entries(b)) {
    const before = merged[field];
    if (before === undefined || field === 'name' || field === 'statPrefix') merged[field] = value;
    else {
      const both = mergeField(field, before, value);
      if (both === undefined) return undefined;
      merged[field] = both;
    }
  }
  return merged as VirtualHttpMatch; // fields of two matches
}

const MAPS: ReadonlySet<string> = new Set(['headers', 'withoutHeaders', 'queryParams', 'sourceLabels']);

function mergeField(field: string, a: unknown, b: unknown): unknown {
  if (MAPS.has(field)) {
    const [left, right] = [a as Readonly<Record<string, unknown>>, b as Readonly<Record<string, unknown>>];
    const clash = Object.keys(left).some(
      (key) => key in right && JSON.stringify(left[key]) !== JSON.stringify(right[key]),
    );
    return clash ? undefined : { ...left, ...right };
  }
  if (field === 'uri') return narrower(a as StringMatchSpec, b as StringMatchSpec);
  return JSON.stringify(a) === JSON.stringify(b) ? a : undefined;
}

/** The delegate's path where it lies under the prefix that was delegated. */
function narrower(root: StringMatchSpec, own: StringMatchSpec): StringMatchSpec | undefined {
  if (JSON.stringify(root) === JSON.stringify(own)) return own;
  const path = own.exact ?? own.prefix;
  return root.prefix !== undefined && path?.startsWith(root.prefix) ? own : undefined;
}

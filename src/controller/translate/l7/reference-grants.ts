/** Whether an object may refer to one of another namespace. Source: Gateway API ReferenceGrant. */
import { namespaceOf, type ReferenceGrant } from '../../resources.ts';

export interface Reference {
  readonly from: { readonly group: string; readonly kind: string; readonly namespace: string };
  readonly to: { readonly group: string; readonly kind: string; readonly namespace: string; readonly name: string };
}

/** References within a namespace need no grant. */
export function isGranted(grants: readonly ReferenceGrant[], { from, to }: Reference): boolean {
  if (from.namespace === to.namespace) return true;
  return grants.some(
    (grant) =>
      namespaceOf(grant) === to.namespace &&
      grant.spec.from.some(
        ({ group, kind, namespace }) => group === from.group && kind === from.kind && namespace === from.namespace,
      ) &&
      grant.spec.to.some(
        ({ group, kind, name }) =>
          group === to.group && kind === to.kind && (name === undefined || name === '' || name === to.name),
      ),
  );
}

/** Paths of the Kubernetes API. Source: Kubernetes API concepts, "Resource URIs". */
import { MeshError } from '../../core/errors.ts';
import type { NamespacedName } from '../../model/address.ts';
import { findKind, type KindDefinition } from '../../schema/index.ts';
import type { GroupKind } from '../port.ts';

/** The definition of a kind. Throws ERR_UNSUPPORTED for kinds that no schema names. */
export function definitionOf({ group, kind }: GroupKind): KindDefinition {
  const definition = findKind(group, kind);
  if (!definition) throw new MeshError('ERR_UNSUPPORTED', `no schema names the kind ${kind} of group "${group}"`);
  return definition;
}

export function apiVersionOf({ group }: GroupKind, version: string): string {
  return group === '' ? version : `${group}/${version}`;
}

/** All objects of a kind, in every namespace, or in one when given. */
export function collectionPath(kind: GroupKind, version: string, namespace = ''): string {
  const root = kind.group === '' ? `/api/${version}` : `/apis/${kind.group}/${version}`;
  const { plural, clusterScoped } = definitionOf(kind);
  if (clusterScoped || namespace === '') return `${root}/${plural}`;
  return `${root}/namespaces/${encodeURIComponent(namespace)}/${plural}`;
}

/** One object, or a subresource of it. Throws ERR_NOT_FOUND for names that cannot exist. */
export function objectPath(kind: GroupKind, version: string, key: NamespacedName, subresource?: 'status'): string {
  const { clusterScoped } = definitionOf(kind);
  if (key.name === '' || (!clusterScoped && key.namespace === '')) {
    throw new MeshError('ERR_NOT_FOUND', `no ${kind.kind} "${key.namespace}/${key.name}" can exist`);
  }
  const path = `${collectionPath(kind, version, key.namespace)}/${encodeURIComponent(key.name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

/** The field selector of a watch; empty selects everything. */
export function fieldSelector({ nodeName, name }: { readonly nodeName?: string; readonly name?: string }): string {
  return [
    ...(nodeName === undefined ? [] : [`spec.nodeName=${escapeValue(nodeName)}`]),
    ...(name === undefined ? [] : [`metadata.name=${escapeValue(name)}`]),
  ].join(',');
}

function escapeValue(value: string): string {
  return value.replaceAll(/[\\,=]/g, (char) => `\\${char}`);
}

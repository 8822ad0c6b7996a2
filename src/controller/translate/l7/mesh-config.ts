/**
 * The mesh configuration as operators write it: `data.mesh` of the ConfigMap `istio` in the root namespace, over what
 * IstioOperator objects beside it say. What has another shape than it should is passed over.
 * Source: Istio MeshConfig.
 */
import { parse } from 'yaml';
import type { KubeObject } from '../../../kube/index.ts';
import type { Resources } from '../../resources.ts';

export type Fields = Readonly<Record<string, unknown>>;

const MAX_CHARS = 1_000_000;

export function readMeshConfig(
  { configMaps, operators }: Pick<Resources, 'configMaps' | 'operators'>,
  root: string,
): Fields {
  const own = configMaps.find(({ metadata }) => metadata.name === 'istio' && metadata.namespace === root);
  const written = operators.map((object) => fieldsOf(fieldsOf((object as { spec?: unknown }).spec).meshConfig));
  return Object.assign({}, ...written, own ? parseMesh(own) : {});
}

function parseMesh(object: KubeObject): Fields {
  const { mesh } = fieldsOf((object as { data?: unknown }).data);
  if (typeof mesh !== 'string' || mesh.length > MAX_CHARS) return {};
  try {
    return fieldsOf(parse(mesh, { maxAliasCount: 10 }));
  } catch {
    return {}; // the webhook and `install` say what is wrong with it
  }
}

export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

export function listOf(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? value.map(fieldsOf) : [];
}

export function textOf(value: unknown, otherwise = ''): string {
  return typeof value === 'string' ? value : otherwise;
}

export function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
}

/** Every generated file below `deploy/`: definitions, plain manifests with the defaults, and the chart. Pure. */
import { stringify } from 'yaml';
import { customResourceDefinition, shippedKinds } from '../schema/index.ts';
import { chartFiles } from './chart.ts';
import { MANIFEST_GROUPS, namespaceObject, renderGroup } from './manifests/index.ts';
import { parseValues } from './values.ts';

/** Group versions that plain manifests take for served. */
export const USUAL_GROUPS: ReadonlySet<string> = new Set(['gateway.networking.k8s.io/v1']);
const NAMESPACE = 'istio-system';

/** Folders below the repository, and in each the files with their texts. */
export function deploymentFiles(version: string): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const options = { values: parseValues({}, version), namespace: NAMESPACE, served: USUAL_GROUPS };
  const plain = new Map([['00-namespace.yaml', yamlDocuments([namespaceObject(options)])]]);
  MANIFEST_GROUPS.forEach((group, index) => {
    if (group.name === 'crds') return; // they have a folder of their own
    plain.set(`${String(index * 10).padStart(2, '0')}-${group.name}.yaml`, yamlDocuments(renderGroup(group, options)));
  });
  const definitions = shippedKinds().map((kind): readonly [string, string] => [
    `${kind.plural}.${kind.group}.yaml`,
    yamlDocuments([customResourceDefinition(kind)]),
  ]);
  return new Map([
    ['deploy/crds', new Map(definitions)],
    ['deploy/manifests', plain],
    ['deploy/helm/culvert', chartFiles(version)],
  ]);
}

/** Read by programs that follow YAML 1.1, where `y` and `on` are booleans. */
export function yamlDocuments(objects: readonly object[]): string {
  const style = { lineWidth: 0, aliasDuplicateObjects: false, version: '1.1' } as const;
  return objects.map((object) => stringify(object, style)).join('---\n');
}

/** Writes the CRD manifests of the Istio kinds to deploy/crds, one file per kind. */
import { mkdir, writeFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { customResourceDefinition, shippedKinds } from '../src/schema/index.ts';

const folder = new URL('../deploy/crds/', import.meta.url);
await mkdir(folder, { recursive: true });
for (const kind of shippedKinds()) {
  const text = stringify(customResourceDefinition(kind), { aliasDuplicateObjects: false, lineWidth: 0 });
  await writeFile(new URL(`${kind.plural}.${kind.group}.yaml`, folder), text);
}

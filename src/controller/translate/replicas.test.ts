import { readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { silentLogger } from '../../core/logger.ts';
import { type KubeObject, parseManifest } from '../../kube/index.ts';
import { ADDRESS_TYPE, AUTHORIZATION_TYPE, ResourceStore, WAYPOINT_TYPES } from '../../xds/index.ts';
import { DiscoveryEmitter } from '../emit/discovery-emitter.ts';
import { DEFAULT_MESH_SETTINGS } from '../mesh-settings.ts';
import { resourcesOf } from '../resources-fixture.ts';
import { Translator } from './translator.ts';

const folder = new URL('../testdata/translate/', import.meta.url);
const cases = readdirSync(folder).filter((name) => name.endsWith('.in.yaml'));

function objectsOf(file: string): readonly KubeObject[] {
  const { objects } = parseManifest(file, readFileSync(new URL(file, folder), 'utf8'));
  return objects.map(({ object, key: { namespace, name } }) => ({
    ...object,
    metadata: { ...object.metadata, name, ...(namespace === '' ? {} : { namespace }) },
  }));
}

/** Names and digests of everything that is served. */
async function served(objects: readonly KubeObject[]): Promise<Readonly<Record<string, string>>> {
  const store = await ResourceStore.create();
  const translator = new Translator(DEFAULT_MESH_SETTINGS);
  const { bound } = translator.translate(resourcesOf(objects));
  const { ir } = translator.translate(resourcesOf(objects), new Map(bound.map(({ key, wanted }) => [key, wanted])));
  new DiscoveryEmitter(store, silentLogger).emit(ir);
  const types = [ADDRESS_TYPE, AUTHORIZATION_TYPE, ...WAYPOINT_TYPES];
  const names = types.flatMap((type) => [...store.names(type)].map((name) => [type, name] as const));
  const digests = names.map(([type, name]) => [`${type} ${name}`, store.digest(type, name)] as const);
  return Object.fromEntries(digests.sort(([a], [b]) => (a < b ? -1 : 1)));
}

for (const file of cases) {
  test(`${file}: replicas that hear of objects in another order serve the same bytes`, async (t) => {
    const objects = objectsOf(file);
    const wanted = await served(objects);
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray([...objects], { minLength: objects.length }), async (shuffled) => {
        t.deepEqual(await served(shuffled), wanted);
      }),
      { numRuns: 15 },
    );
  });
}

/** Objects that pass their schema are translated, however odd: one of them must never stop the others. */

import { readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { silentLogger } from '../../core/logger.ts';
import { type KubeObject, parseManifest } from '../../kube/index.ts';
import { ResourceStore } from '../../xds/index.ts';
import { DiscoveryEmitter } from '../emit/discovery-emitter.ts';
import { workloadsOf } from '../ir.ts';
import { DEFAULT_MESH_SETTINGS } from '../mesh-settings.ts';
import { resourcesOf } from '../resources-fixture.ts';
import { Translator } from './translator.ts';

const folder = new URL('../testdata/translate/', import.meta.url);
const objects = readdirSync(folder)
  .filter((file) => file.endsWith('.in.yaml'))
  .flatMap((file) => parseManifest(file, readFileSync(new URL(file, folder), 'utf8')).objects)
  .map(({ object, key }): KubeObject => ({ ...object, metadata: { ...object.metadata, namespace: key.namespace } }));

/** Every place in a value, as a path. */
function pathsOf(value: unknown, path: readonly string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [[...path]];
  return [[...path], ...Object.entries(value).flatMap(([key, item]) => pathsOf(item, [...path, key]))];
}

function replaced(value: unknown, [step, ...rest]: readonly string[], by: unknown): unknown {
  if (step === undefined) return by;
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string, unknown>;
  copy[step] = replaced(copy[step], rest, by);
  return copy;
}

const odd = fc.oneof(
  fc.constantFrom(
    null,
    '',
    '*',
    '/',
    '-1',
    '0',
    0,
    65_536,
    [],
    {},
    [[]],
    ['*'],
    '::',
    '0.0.0.0/0',
    'a/b/c',
    '__proto__',
  ),
  fc.jsonValue({ maxDepth: 2 }),
);
const places = objects.flatMap((object, index) =>
  pathsOf(object)
    .filter((path) => path.length > 1)
    .map((path) => ({ index, path })),
);

test('whatever the schemas let through is translated and encoded', async (t) => {
  const store = await ResourceStore.create();
  let accepted = 0;
  fc.assert(
    fc.property(fc.constantFrom(...places), odd, ({ index, path }, by) => {
      const changed = replaced(objects[index], path, by);
      const [located] = parseManifest('x.json', JSON.stringify(changed)).objects;
      if (!located) return; // refused, as most are
      accepted += 1;
      const object = { ...located.object, metadata: { ...located.object.metadata, namespace: located.key.namespace } };
      const all = objects.map((one, at) => (at === index ? object : one));
      const { ir } = new Translator(DEFAULT_MESH_SETTINGS).translate(resourcesOf(all));
      t.true(workloadsOf(ir).length > 0);
      new DiscoveryEmitter(store, {
        ...silentLogger,
        error: (message, fields) => t.fail(`${message}: ${JSON.stringify(fields)}`),
      }).emit(ir);
    }),
    { numRuns: 300 },
  );
  t.true(accepted > 20);
});

/** Translations by example: `testdata/translate/<case>.in.yaml` gives `<case>.out.yaml`; UPDATE_TESTDATA=1 rewrites. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { parseAllDocuments, stringify } from 'yaml';
import { parseManifest } from '../../kube/index.ts';
import type { Translation } from '../ir.ts';
import { workloadsOf } from '../ir.ts';
import { DEFAULT_MESH_SETTINGS } from '../mesh-settings.ts';
import type { Resources } from '../resources.ts';
import { resourcesOf } from '../resources-fixture.ts';
import { Translator } from './translator.ts';

const folder = new URL('../testdata/translate/', import.meta.url);
const cases = readdirSync(folder).filter((file) => file.endsWith('.in.yaml'));

function readResources(file: string): Resources {
  const manifest = parseManifest(file, readFileSync(new URL(file, folder), 'utf8'));
  if (manifest.problems.length > 0) throw new Error(JSON.stringify(manifest.problems));
  return resourcesOf(
    manifest.objects.map(({ object, key }) => ({ ...object, metadata: { ...object.metadata, ...scope(key) } })),
  );
}

const scope = ({ namespace }: { namespace: string }) => (namespace === '' ? {} : { namespace });

/** Without what is empty, so that a person can read it. */
function compact(value: unknown): unknown {
  if (value instanceof Map) return compact(Object.fromEntries(value));
  if (Array.isArray(value)) return value.map(compact);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value)
    .map(([key, item]) => [key, compact(item)] as const)
    .filter(([, item]) => !isEmpty(item));
  return Object.fromEntries(entries);
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === '' || value === false) return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

/** As it is when every replica of every gateway has taken what it was told. */
function translateAttached(translator: Translator, resources: Resources): Translation {
  const { bound } = translator.translate(resources);
  return translator.translate(resources, new Map(bound.map(({ key, wanted }) => [key, wanted])));
}

function render({ ir, statuses }: Translation): string {
  const told = statuses.filter(({ conditions, fields }) => conditions.length > 0 || !isEmpty(fields ?? {}));
  const { services, policies, gateways } = ir;
  const sections = { services, workloads: workloadsOf(ir), policies, gateways, statuses: told };
  return stringify(compact(sections), { lineWidth: 0, aliasDuplicateObjects: false });
}

for (const file of cases) {
  test(`${file.replace('.in.yaml', '')} translate as agreed, twice the same`, (t) => {
    const translator = new Translator(DEFAULT_MESH_SETTINGS);
    const first = translateAttached(translator, readResources(file));
    const text = render(first);
    const expected = new URL(file.replace('.in.yaml', '.out.yaml'), folder);
    if (process.env.UPDATE_TESTDATA === '1') writeFileSync(expected, text);
    t.is(text, readFileSync(expected, 'utf8'));
    const second = translateAttached(translator, readResources(file));
    t.is(render(second), text);
    t.true(workloadsOf(second.ir).every((workload, index) => workload === workloadsOf(first.ir)[index]));
    t.true(second.ir.policies.every((policy, index) => policy === first.ir.policies[index]));
  });
}

test('the manifests that users already have translate, and what takes no effect says so', (t) => {
  const acceptance = new URL('../../../test/testdata/acceptance/', import.meta.url);
  for (const file of readdirSync(acceptance).filter((name) => name.endsWith('.yaml'))) {
    const text = readFileSync(new URL(file, acceptance), 'utf8');
    const manifest = parseManifest(file, text);
    t.deepEqual(manifest.problems, [], file);
    t.is(manifest.objects.length, parseAllDocuments(text).length, file);
    const { statuses } = new Translator(DEFAULT_MESH_SETTINGS).translate(
      resourcesOf(
        manifest.objects.map(({ object, key }) => ({ ...object, metadata: { ...object.metadata, ...scope(key) } })),
      ),
    );
    for (const { object } of manifest.objects) {
      // Enrolment, plain policies and what other programs read speak by their effect.
      if (['Namespace', 'PeerAuthentication', 'IstioOperator', 'ServiceMonitor'].includes(object.kind)) continue;
      const told = statuses.find(({ kind, key }) => kind.kind === object.kind && key.name === object.metadata.name);
      t.truthy(told?.conditions[0] ?? told?.fields?.parents, `${file}: ${object.kind} ${object.metadata.name}`);
    }
  }
});

test('a change computes again only what depends on it', (t) => {
  const translator = new Translator(DEFAULT_MESH_SETTINGS);
  const resources = readResources('pods-and-services.in.yaml');
  const before = translator.translate(resources);
  const [pod, ...rest] = resources.pods;
  const changed = { ...pod, metadata: { ...pod?.metadata, labels: { app: 'renamed' } } } as Resources['pods'][number];
  const after = translator.translate({ ...resources, pods: [changed, ...rest] });
  const other = workloadsOf(before.ir).findIndex(({ name }) => name === 'leaving');
  t.not(workloadsOf(after.ir)[0], workloadsOf(before.ir)[0]);
  t.is(workloadsOf(after.ir)[other], workloadsOf(before.ir)[other]);
  t.true(after.ir.services.every((service, index) => service === before.ir.services[index]));
});

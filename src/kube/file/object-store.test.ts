import test from 'ava';
import fc from 'fast-check';
import type { KubeObject } from '../port.ts';
import { type Manifest, parseManifest } from './manifest.ts';
import { keyText } from './object-key.ts';
import { ObjectStore, type StoreChange } from './object-store.ts';

const KIND = 'Thing.core';
const unchecked = () => [];

function manifestOf(objects: Readonly<Record<string, number>>, file = 'x.yaml'): Manifest {
  const list = Object.entries(objects).map(([name, value]) => ({
    apiVersion: 'v1',
    kind: 'Thing',
    metadata: { name },
    spec: { value },
  }));
  return parseManifest(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: list }), unchecked);
}

const put = (file: string, objects: Readonly<Record<string, number>>): StoreChange => ({
  kind: 'manifest',
  file,
  manifest: manifestOf(objects, file),
});
const drop = (file: string): StoreChange => ({ kind: 'manifest', file, manifest: undefined });
const uidOf = (store: ObjectStore, name: string) =>
  store.find({ kind: KIND, namespace: 'default', name })?.metadata.uid ?? '';

function overlay(uid: string, manager: string, name: string, patch: Record<string, unknown>): StoreChange {
  const key = { kind: KIND, namespace: 'default', name };
  return { kind: 'overlay', file: `${manager}/${name}`, overlay: { manager, key, uid, patch } };
}

function plain(store: ObjectStore): unknown[] {
  return [...store.objects(KIND).values()]
    .map((object) => {
      const { resourceVersion: _version, generation: _generation, ...metadata } = object.metadata;
      return { ...object, metadata };
    })
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
}

const content = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 0, max: 2 }));
const edit = fc.record({
  file: fc.constantFrom('1.yaml', '2.yaml', '3.yaml'),
  content: fc.option(content, { nil: undefined }),
});

test('any way of edits ends where a fresh reading of the same files ends', (t) => {
  fc.assert(
    fc.property(fc.array(edit), (edits) => {
      const store = new ObjectStore();
      const files = new Map<string, Readonly<Record<string, number>>>();
      const seen = new Map<string, KubeObject | undefined>();
      for (const { file, content: objects } of edits) {
        if (objects) files.set(file, objects);
        else files.delete(file);
        const told = store.apply([objects ? put(file, objects) : drop(file)]);
        for (const key of told) seen.set(keyText(key), store.find(key));
      }
      const fresh = new ObjectStore();
      fresh.apply([...files].sort(([a], [b]) => (a < b ? -1 : 1)).map(([file, objects]) => put(file, objects)));
      t.deepEqual(plain(store), plain(fresh));
      t.deepEqual(store.problems().length, fresh.problems().length);
      // Whoever believed what was told knows the state.
      const believed = [...seen].filter(([, object]) => object !== undefined).map(([text]) => text);
      t.deepEqual(believed.sort(), [...store.objects(KIND).keys()].sort());
    }),
  );
});

test('writing the same again tells nobody', (t) => {
  const store = new ObjectStore();
  t.is(store.apply([put('a', { x: 1, y: 1 })]).length, 2);
  t.deepEqual(store.apply([put('a', { x: 1, y: 1 })]), []);
  t.deepEqual(
    store.apply([put('a', { x: 1, y: 2 })]).map(({ name }) => name),
    ['y'],
  );
});

test('overlays of several managers are applied by name, whatever came first', (t) => {
  const stores = [new ObjectStore(), new ObjectStore()];
  for (const [index, store] of stores.entries()) {
    store.apply([put('a', { x: 1 })]);
    const uid = uidOf(store, 'x');
    const changes = [
      overlay(uid, 'm1', 'x', { status: { by: 'm1' } }),
      overlay(uid, 'm2', 'x', { status: { by: 'm2' } }),
    ];
    store.apply(index === 0 ? changes : [...changes].reverse());
  }
  const [first, second] = stores.map(plain);
  t.deepEqual(first, second);
  t.like(first?.[0], { status: { by: 'm2' } });
});

test('an overlay may come before its object, and counts only for its uid', (t) => {
  const store = new ObjectStore();
  const other = new ObjectStore();
  other.apply([put('a', { x: 1 })]);
  store.apply([overlay(uidOf(other, 'x'), 'm', 'x', { status: { seen: true } })]);
  t.is(store.objects(KIND).size, 0);
  store.apply([put('a', { x: 1 })]);
  t.deepEqual((plain(store)[0] as { status?: unknown }).status, { seen: true });
  store.apply([overlay('another', 'm', 'x', { status: { seen: true } })]);
  t.is((plain(store)[0] as { status?: unknown }).status, undefined);
});

test('generation grows with the spec, not with what others write', (t) => {
  const store = new ObjectStore();
  store.apply([put('a', { x: 1 })]);
  const generation = () => store.find({ kind: KIND, namespace: 'default', name: 'x' })?.metadata.generation;
  t.is(generation(), 1);
  store.apply([
    overlay(uidOf(store, 'x'), 'm', 'x', { status: { seen: true }, metadata: { annotations: { a: 'b' } } }),
  ]);
  t.is(generation(), 1);
  store.apply([put('a', { x: 2 })]);
  t.is(generation(), 2);
  store.apply([drop('a')]);
  store.apply([put('a', { x: 2 })]);
  t.is(generation(), 1);
});

test('a refused object without a good version is kept apart, told of, and gone when mended', (t) => {
  const store = new ObjectStore();
  const text = (bad: string) => `apiVersion: v1\nkind: Thing\nmetadata: {name: x}\nspec: {value: ${bad}}\n`;
  const check = ({ spec }: KubeObject & { spec?: { value?: unknown } }) =>
    spec?.value === 'bad' ? [{ path: ['spec', 'value'], reason: 'is bad' }] : [];
  const write = (content: string, file = 'a') =>
    store.apply([{ kind: 'manifest', file, manifest: parseManifest(file, content, check) }]).length;
  const refused = () => [...store.refused(KIND).values()].map(({ reason }) => reason);
  t.is(write(text('bad')), 1);
  t.is(write(text('bad')), 0);
  t.deepEqual([refused(), store.objects(KIND).size], [['spec.value: is bad'], 0]);
  t.is(write(text('1'), 'b'), 1, 'another file has a good one');
  t.deepEqual([refused(), store.objects(KIND).size], [[], 1]);
  store.apply([drop('b')]);
  t.deepEqual(refused(), ['spec.value: is bad']);
  t.is(write(text('1')), 1);
  write(text('bad'));
  t.deepEqual([refused(), store.objects(KIND).size], [[], 1], 'the last good version stays');
  store.apply([drop('a')]);
  t.is(store.objects(KIND).size, 0);
});

test('of a text that is no YAML what can be made out is refused, and not what was good before', (t) => {
  const store = new ObjectStore();
  const write = (content: string) =>
    store.apply([{ kind: 'manifest', file: 'a', manifest: parseManifest('a', content, unchecked) }]);
  const thing = (name: string) => `apiVersion: v1\nkind: Thing\nmetadata: {name: ${name}}\n`;
  const names = () => [...store.refused(KIND).values()].map(({ object }) => object.metadata.name);
  write(`${thing('x')}---\n${thing('y')}spec: [\n`);
  t.deepEqual(names(), ['x', 'y']);
  write(`${thing('x')}---\n${thing('y')}`);
  t.deepEqual([names(), store.objects(KIND).size], [[], 2]);
  write(`${thing('x')}---\n${thing('z')}spec: [\n`);
  t.deepEqual([names(), store.objects(KIND).size], [['z'], 2]);
});

test('names are kept of an object whose labels cannot be used', (t) => {
  const { refused } = parseManifest('a', 'apiVersion: v1\nkind: Thing\nmetadata: {name: x, labels: {a: b, n: 1}}\n');
  t.like(refused[0]?.object.metadata, { name: 'x', labels: { a: 'b' } });
  const nameless = 'apiVersion: v1\nkind: Thing\nmetadata: {labels: {}}\n';
  t.deepEqual(parseManifest('a', nameless).refused, []);
});

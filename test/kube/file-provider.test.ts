import { deepEqual } from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { silentLogger } from '../../src/core/logger.ts';
import { FileSource, FileWriter, type KubeObject } from '../../src/kube/index.ts';
import { eventually } from '../support/eventually.ts';
import { type ProviderHarness, testKubeProvider } from './provider-compliance.ts';

const PODS = { group: '', kind: 'Pod' };

interface Harness extends ProviderHarness {
  readonly source: FileSource;
  readonly directory: string;
  put(file: string, text: string): Promise<void>;
}

async function openHarness(): Promise<Harness> {
  const directory = await mkdtemp(join(tmpdir(), `culvert-kube-${process.pid}-`));
  const source = await FileSource.open({ directory, log: silentLogger });
  const fileOf = (object: KubeObject) => join(directory, `${object.kind}-${object.metadata.name}.yaml`);
  return {
    directory,
    source,
    writer: (manager) => new FileWriter({ source, manager }),
    apply: (object) => writeFile(fileOf(object), JSON.stringify(object)),
    delete: (object) => rm(fileOf(object)),
    put: (file, text) => writeFile(join(directory, file), text),
    async [Symbol.asyncDispose]() {
      await source[Symbol.asyncDispose]();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

testKubeProvider('file provider', openHarness);

const podYaml = (name: string, extra = '') =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}, namespace: shop}\nspec: {nodeName: a}\n${extra}`;

/** Throws unless the provider lists exactly these pods. */
function assertPods(source: FileSource, ...names: readonly string[]): void {
  const listed = source.informer(PODS).list();
  deepEqual(listed.map(({ metadata }) => metadata.name).sort(), names);
}

test('control: a provider that is closed does not follow what another one sees', async (t) => {
  await using h = await openHarness();
  const closed = await FileSource.open({ directory: h.directory, log: silentLogger });
  await h.put('a.yaml', podYaml('one'));
  for (const source of [h.source, closed]) await eventually(() => source.informer(PODS).list().length === 1);
  for (const source of [h.source, closed]) t.notThrows(() => assertPods(source, 'one'));
  await closed[Symbol.asyncDispose]();
  await h.put('b.yaml', podYaml('two'));
  await eventually(() => h.source.informer(PODS).list().length === 2);
  t.notThrows(() => assertPods(h.source, 'one', 'two'));
  t.throws(() => assertPods(closed, 'one', 'two'));
});

test('several documents, List kinds and JSON are read; the namespace is default when none is given', async (t) => {
  await using h = await openHarness();
  const pods = h.source.informer(PODS);
  await h.put('many.yml', `${podYaml('one')}---\n---\n# nothing\n---\n${podYaml('two')}`);
  const item = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'three' } };
  await h.put('list.json', JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [item] }));
  await eventually(() => pods.list().length === 3);
  t.truthy(pods.get({ namespace: 'default', name: 'three' }));
  t.deepEqual(h.source.problems(), []);
});

test('a broken file is reported with its line, keeps its last good objects, and the rest keeps working', async (t) => {
  await using h = await openHarness();
  const pods = h.source.informer(PODS);
  await h.put('a.yaml', podYaml('one'));
  await eventually(() => pods.list().length === 1);
  await h.put('a.yaml', `${podYaml('one')}---\napiVersion: v1\nkind: Pod\nmetadata: {name: [\n`);
  await eventually(() => h.source.problems().length === 1);
  const [problem] = h.source.problems();
  t.is(problem?.file, 'a.yaml');
  t.true((problem?.line ?? 0) >= 7, `line ${problem?.line}`);
  await h.put('b.yaml', podYaml('two'));
  await eventually(() => pods.list().length === 2);
  await h.put('a.yaml', podYaml('renewed'));
  await eventually(() => h.source.problems().length === 0);
  await eventually(
    () =>
      pods
        .list()
        .map((pod) => pod.metadata.name)
        .sort()
        .join() === 'renewed,two',
  );
  t.pass();
});

test('a file cut short while it was written does not remove its objects', async (t) => {
  await using h = await openHarness();
  const pods = h.source.informer(PODS);
  const whole = `${podYaml('one')}---\n${podYaml('two', 'status: {podIP: "10.0.0.1"}\n')}`;
  await h.put('a.yaml', whole);
  await eventually(() => pods.list().length === 2);
  const heard: string[] = [];
  using _subscription = pods.subscribe(({ name }) => heard.push(name));
  heard.length = 0;
  await h.put('a.yaml', '');
  await h.put('a.yaml', whole.slice(0, whole.indexOf('podIP') + 8));
  await eventually(() => h.source.problems().length === 1);
  t.is(pods.list().length, 2);
  t.deepEqual(heard, []);
});

test('a file that stays empty has no objects', async (t) => {
  await using h = await openHarness();
  const pods = h.source.informer(PODS);
  await h.put('a.yaml', podYaml('one'));
  await eventually(() => pods.list().length === 1);
  await h.put('a.yaml', '');
  await eventually(() => pods.list().length === 0);
  t.pass();
});

test('editors that write beside and rename are followed; their temporary files are not read', async (t) => {
  await using h = await openHarness();
  const pods = h.source.informer(PODS);
  await h.put('a.yaml', podYaml('one'));
  await eventually(() => pods.list().length === 1);
  await h.put('.a.yaml.swp', podYaml('swap'));
  await h.put('.hidden.yaml', podYaml('hidden'));
  await h.put('a.yaml~', podYaml('backup'));
  await h.put('new.tmp', podYaml('two'));
  await rename(join(h.directory, 'new.tmp'), join(h.directory, 'a.yaml'));
  await eventually(() => pods.list()[0]?.metadata.name === 'two');
  t.is(pods.list().length, 1);
});

test('folders are followed when they come, move and go', async (t) => {
  await using h = await openHarness();
  const pods = h.source.informer(PODS);
  await mkdir(join(h.directory, 'x/y'), { recursive: true });
  await h.put('x/y/a.yaml', podYaml('one'));
  await eventually(() => pods.list().length === 1);
  await rename(join(h.directory, 'x'), join(h.directory, 'z'));
  await h.put('z/y/b.yaml', podYaml('two'));
  await eventually(() => pods.list().length === 2);
  await rm(join(h.directory, 'z'), { recursive: true });
  await eventually(() => pods.list().length === 0);
  t.pass();
});

test('symbolic links are refused and reported', async (t) => {
  await using h = await openHarness();
  const outside = join(tmpdir(), `culvert-outside-${process.pid}.yaml`);
  await writeFile(outside, podYaml('outside'));
  t.teardown(() => rm(outside, { force: true }));
  await symlink(outside, join(h.directory, 'link.yaml'));
  await eventually(() => h.source.problems().length === 1);
  t.regex(h.source.problems()[0]?.reason ?? '', /symbolic link/);
  t.is(h.source.informer(PODS).list().length, 0);
});

test('a file that turns unreadable keeps its last good objects until it is gone', async (t) => {
  await using h = await openHarness();
  const outside = join(tmpdir(), `culvert-swapped-${process.pid}.yaml`);
  t.teardown(() => rm(outside, { force: true }));
  await writeFile(outside, podYaml('outside'));
  await h.put('a.yaml', podYaml('one'));
  await eventually(() => h.source.informer(PODS).list().length === 1);
  await symlink(outside, join(h.directory, 'link'));
  await rename(join(h.directory, 'link'), join(h.directory, 'a.yaml'));
  await eventually(() => h.source.problems().length === 1);
  t.notThrows(() => assertPods(h.source, 'one'));
  await rm(join(h.directory, 'a.yaml'));
  await eventually(() => h.source.informer(PODS).list().length === 0);
});

test('of two files with one object the first by name counts, the other is reported and takes over later', async (t) => {
  await using h = await openHarness();
  const pods = h.source.informer(PODS);
  await h.put('b.yaml', podYaml('one', 'status: {phase: B}\n'));
  await eventually(() => pods.list().length === 1);
  await h.put('a.yaml', podYaml('one', 'status: {phase: A}\n'));
  await eventually(() => h.source.problems().length === 1);
  t.is(h.source.problems()[0]?.file, 'b.yaml');
  const phase = () => (pods.list()[0] as { status?: { phase?: string } } | undefined)?.status?.phase;
  t.is(phase(), 'A');
  await rm(join(h.directory, 'a.yaml'));
  await eventually(() => phase() === 'B');
  t.deepEqual(h.source.problems(), []);
});

test('an object that is not one is named; its neighbours stay', async (t) => {
  await using h = await openHarness();
  const pods = h.source.informer(PODS);
  await h.put('a.yaml', `${podYaml('one')}---\nkind: Pod\nmetadata: {name: x}\n---\n- 1\n---\n${podYaml('two')}`);
  await eventually(() => pods.list().length === 2);
  t.deepEqual(
    h.source.problems().map(({ line, reason }) => [line, reason]),
    [
      [6, 'apiVersion is missing'],
      [9, 'not an object'],
    ],
  );
});

test('an object refused by its check keeps its last good version', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), `culvert-kube-${process.pid}-`));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const check = (object: KubeObject) =>
    object.metadata.labels?.bad ? [{ path: ['metadata', 'labels', 'bad'], reason: 'is bad' }] : [];
  await using source = await FileSource.open({ directory, log: silentLogger, check });
  const pods = source.informer(PODS);
  await writeFile(join(directory, 'a.yaml'), podYaml('one'));
  await eventually(() => pods.list().length === 1);
  const bad = 'apiVersion: v1\nkind: Pod\nmetadata:\n  name: one\n  namespace: shop\n  labels:\n    bad: x\n';
  await writeFile(join(directory, 'a.yaml'), bad);
  await eventually(() => source.problems().length === 1);
  t.is(source.problems()[0]?.line, 7);
  t.is(source.problems()[0]?.reason, 'Pod one: metadata.labels.bad: is bad');
  t.is(pods.list()[0]?.metadata.labels, undefined);
  t.is(pods.list().length, 1);
});

test('what one process writes another sees; a recreated object starts without it', async (t) => {
  await using h = await openHarness();
  await using other = await FileSource.open({ directory: h.directory, log: silentLogger });
  const scheduler = new FileWriter({ source: h.source, manager: 'scheduler' });
  const agent = new FileWriter({ source: other, manager: 'agent' });
  const key = { namespace: 'shop', name: 'one' };
  const made = (uid: string): KubeObject => ({ apiVersion: 'v1', kind: 'Pod', metadata: { ...key, uid } });
  await scheduler.applyObject(made('u1'));
  await eventually(() => other.find(PODS, key) !== undefined);
  await agent.patchAnnotations(PODS, key, { seen: 'yes' });
  await eventually(() => h.source.find(PODS, key)?.metadata.annotations?.seen === 'yes');
  await scheduler.applyObject(made('u2'));
  await eventually(() => other.find(PODS, key)?.metadata.uid === 'u2');
  t.is(other.find(PODS, key)?.metadata.annotations, undefined);
  await scheduler.deleteObject(PODS, key);
  await eventually(() => other.find(PODS, key) === undefined);
  await t.throwsAsync(readFile(join(h.directory, '.overlay/agent/Pod.core/shop/one.json')), { code: 'ENOENT' });
});

test('ten thousand objects in one folder are read, and one edit among them is found', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), `culvert-kube-${process.pid}-`));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  for (let file = 0; file < 100; file += 1) {
    const documents = Array.from({ length: 100 }, (_, index) => podYaml(`pod-${file}-${index}`));
    await writeFile(join(directory, `${file}.yaml`), documents.join('---\n'));
  }
  await using source = await FileSource.open({ directory, log: silentLogger });
  const pods = source.informer(PODS);
  t.is(pods.list().length, 10_000);
  const heard: string[] = [];
  using _subscription = pods.subscribe(({ name }) => heard.push(name));
  heard.length = 0;
  await writeFile(join(directory, 'zz.yaml'), podYaml('late'));
  await eventually(() => heard.length > 0);
  t.deepEqual(heard, ['late']);
});

test('what was written on an object goes with it, also while its writer was away', async (t) => {
  await using h = await openHarness();
  const key = { namespace: 'shop', name: 'one' };
  const overlay = (manager: string) => join(h.directory, `.overlay/${manager}/Pod.core/shop/one.json`);
  const exists = (file: string) =>
    readFile(file).then(
      () => true,
      () => false,
    );
  await h.put('a.yaml', podYaml('one'));
  await eventually(() => h.source.find(PODS, key) !== undefined);
  for (const manager of ['here', 'away']) {
    await h.writer(manager).patchAnnotations(PODS, key, { by: manager });
    await eventually(() => h.source.find(PODS, key)?.metadata.annotations?.by === manager || manager === 'away');
  }
  await rename(overlay('away'), join(h.directory, 'kept'));
  await rename(join(h.directory, 'a.yaml'), join(h.directory, 'b.yaml'));
  await rm(join(h.directory, 'b.yaml'));
  await eventually(async () => !(await exists(overlay('here'))));
  await rename(join(h.directory, 'kept'), overlay('away'));
  h.writer('away');
  await eventually(async () => !(await exists(overlay('away'))));
  await h.put('a.yaml', podYaml('one'));
  await eventually(() => h.source.find(PODS, key) !== undefined);
  t.is(h.source.find(PODS, key)?.metadata.annotations, undefined);
});

/**
 * What every provider of the watch port must do, whoever stands behind it. A provider's test file calls
 * `testKubeProvider` with a harness that makes an empty provider and can change its objects from outside.
 */
import test from 'ava';
import type { GroupKind, KubeObject, KubeSource, KubeWriter } from '../../src/kube/index.ts';
import { eventually } from '../support/eventually.ts';

export interface ProviderHarness extends AsyncDisposable {
  readonly source: KubeSource;
  writer(fieldManager: string): KubeWriter;
  /** What a person does: create or replace, and delete. */
  apply(object: KubeObject): Promise<void>;
  delete(object: KubeObject): Promise<void>;
}

interface TestPod extends KubeObject {
  readonly spec?: { readonly nodeName?: string };
  readonly status?: { readonly phase?: string; readonly conditions?: readonly { readonly type: string }[] };
}

const PODS: GroupKind = { group: '', kind: 'Pod' };
const NAMESPACES: GroupKind = { group: '', kind: 'Namespace' };

function pod(name: string, nodeName = 'a', labels: Record<string, string> = {}): TestPod {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'shop', labels }, spec: { nodeName } };
}

export function testKubeProvider(provider: string, open: () => Promise<ProviderHarness>): void {
  test(`${provider}: objects there before and after are listed, by namespace too`, async (t) => {
    await using harness = await open();
    await harness.apply(pod('one'));
    const pods = harness.source.informer<TestPod>(PODS);
    await pods.synced;
    await eventually(() => pods.get({ namespace: 'shop', name: 'one' }) !== undefined);
    await harness.apply(pod('two'));
    await eventually(() => pods.list().length === 2);
    t.is(pods.list('shop').length, 2);
    t.is(pods.list('other').length, 0);
    t.is(pods.get({ namespace: 'other', name: 'one' }), undefined);
  });

  test(`${provider}: the same informer is given for the same kind and options`, async (t) => {
    await using harness = await open();
    t.is(harness.source.informer(PODS), harness.source.informer(PODS));
    t.not(harness.source.informer(PODS), harness.source.informer(PODS, { nodeName: 'a' }));
  });

  test(`${provider}: a listener hears of what is there, of additions, changes and removals, until it is disposed`, async (t) => {
    await using harness = await open();
    await harness.apply(pod('one'));
    const pods = harness.source.informer<TestPod>(PODS);
    await pods.synced;
    await eventually(() => pods.list().length === 1);
    const heard: string[] = [];
    const subscription = pods.subscribe(({ namespace, name }) => heard.push(`${namespace}/${name}`));
    await eventually(() => heard.includes('shop/one'));
    await harness.apply(pod('two'));
    await eventually(() => heard.includes('shop/two'));
    heard.length = 0;
    await harness.apply(pod('one', 'a', { app: 'x' }));
    await eventually(() => heard.includes('shop/one'));
    t.is(pods.get({ namespace: 'shop', name: 'one' })?.metadata.labels?.app, 'x');
    heard.length = 0;
    await harness.delete(pod('one'));
    await eventually(() => heard.includes('shop/one'));
    t.is(pods.get({ namespace: 'shop', name: 'one' }), undefined);
    subscription[Symbol.dispose]();
    heard.length = 0;
    await harness.delete(pod('two'));
    await eventually(() => pods.list().length === 0);
    t.deepEqual(heard, []);
  });

  test(`${provider}: an informer of one node follows pods in and out of it`, async (t) => {
    await using harness = await open();
    const pods = harness.source.informer<TestPod>(PODS, { nodeName: 'a' });
    await pods.synced;
    const heard: string[] = [];
    using _subscription = pods.subscribe(({ name }) => heard.push(name));
    await harness.apply(pod('there', 'a'));
    await harness.apply(pod('elsewhere', 'b'));
    await eventually(() => heard.includes('there'));
    t.deepEqual(
      pods.list().map((one) => one.metadata.name),
      ['there'],
    );
    t.false(heard.includes('elsewhere'));
  });

  test(`${provider}: cluster-scoped objects have no namespace`, async (t) => {
    await using harness = await open();
    await harness.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
    const namespaces = harness.source.informer(NAMESPACES);
    await namespaces.synced;
    await eventually(() => namespaces.get({ namespace: '', name: 'shop' }) !== undefined);
    t.is(namespaces.list()[0]?.metadata.namespace, undefined);
  });

  test(`${provider}: uid, creation time and generation are there; generation grows with the spec only`, async (t) => {
    await using harness = await open();
    await harness.apply(pod('one', 'a'));
    const pods = harness.source.informer<TestPod>(PODS);
    await pods.synced;
    const now = () => pods.get({ namespace: 'shop', name: 'one' });
    await eventually(() => now() !== undefined);
    const first = now()?.metadata;
    t.truthy(first?.uid);
    t.truthy(first?.creationTimestamp);
    t.is(first?.generation, 1);
    await harness.apply(pod('one', 'a', { app: 'x' }));
    await eventually(() => now()?.metadata.labels?.app === 'x');
    t.is(now()?.metadata.generation, 1);
    const before = pod('one', 'a', { app: 'x' });
    // A field that an API server lets change on a pod.
    await harness.apply({ ...before, spec: { ...before.spec, activeDeadlineSeconds: 600 } } as TestPod);
    await eventually(() => now()?.metadata.generation === 2);
    t.is(now()?.metadata.uid, first?.uid);
  });

  test(`${provider}: annotations are set and removed, labels and spec stay`, async (t) => {
    await using harness = await open();
    await harness.apply(pod('one', 'a', { app: 'x' }));
    const pods = harness.source.informer<TestPod>(PODS);
    await pods.synced;
    const key = { namespace: 'shop', name: 'one' };
    await eventually(() => pods.get(key) !== undefined);
    const writer = harness.writer('agent');
    await writer.patchAnnotations(PODS, key, { 'example.com/a': '1', 'example.com/b': '2' });
    await eventually(() => pods.get(key)?.metadata.annotations?.['example.com/b'] === '2');
    await writer.patchAnnotations(PODS, key, { 'example.com/b': null });
    await eventually(() => pods.get(key)?.metadata.annotations?.['example.com/b'] === undefined);
    t.is(pods.get(key)?.metadata.annotations?.['example.com/a'], '1');
    t.is(pods.get(key)?.metadata.labels?.app, 'x');
    t.is(pods.get(key)?.spec?.nodeName, 'a');
  });

  test(`${provider}: conditions of two writers stand side by side`, async (t) => {
    await using harness = await open();
    await harness.apply(pod('one'));
    const pods = harness.source.informer<TestPod>(PODS);
    await pods.synced;
    const key = { namespace: 'shop', name: 'one' };
    await eventually(() => pods.get(key) !== undefined);
    await harness
      .writer('kubelet')
      .patchStatus(PODS, key, { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] });
    await eventually(() => pods.get(key)?.status?.phase === 'Running');
    await harness.writer('agent').patchStatus(PODS, key, { conditions: [{ type: 'Meshed', status: 'True' }] });
    await eventually(() => pods.get(key)?.status?.conditions?.length === 2);
    t.deepEqual(
      pods
        .get(key)
        ?.status?.conditions?.map((condition) => condition.type)
        .sort(),
      ['Meshed', 'Ready'],
    );
  });

  test(`${provider}: writing to an object that is gone is refused`, async (t) => {
    await using harness = await open();
    const writer = harness.writer('agent');
    const key = { namespace: 'shop', name: 'nobody' };
    await t.throwsAsync(writer.patchStatus(PODS, key, { phase: 'Running' }), { code: 'ERR_NOT_FOUND' });
    await t.throwsAsync(writer.patchAnnotations(PODS, key, { a: 'b' }), { code: 'ERR_NOT_FOUND' });
  });
}

import test, { type ExecutionContext } from 'ava';
import type { AppPod } from './cluster/app-pods.ts';
import { manifest } from './cluster/kubernetes.ts';
import { hboneFaults, LinkView } from './cluster/link-view.ts';
import { isEnrolled, openScene, type Scene, until } from './cluster/scene.ts';

const NAMES = ['client', 'near', 'far'] as const;
const SECRET = 'x-e2e-membership';

async function openThree(scene: Scene, ambient: boolean) {
  const namespace = await scene.namespace('shop', { ambient });
  const [here, there] = scene.nodes;
  const [client, near, far] = await scene.pods(
    { namespace, name: 'client', node: here },
    { namespace, name: 'near', node: here },
    { namespace, name: 'far', node: there },
  );
  if (!client || !near || !far) throw new Error('pods are missing');
  return { namespace, client, near, far };
}

/** Held connections and new ones, both to a pod of this node and of the other, while `during` runs. */
async function underTraffic(t: ExecutionContext, client: AppPod, during: () => Promise<void>): Promise<void> {
  const holds = [
    await client.hold('near', 'near', { port: 90, count: 20 }),
    await client.hold('far', 'far', { port: 90, count: 20 }),
  ];
  const loads = [await client.load('load-near', 'http://near'), await client.load('load-far', 'http://far')];
  await during();
  for (const load of loads) {
    const { sent, answered, failures } = await load.stop();
    t.deepEqual(failures, [], 'new connections');
    t.is(answered, sent);
    t.true(sent > 0);
  }
  for (const hold of holds) {
    const { open, broken, corrupted, exchanged } = await hold.stop();
    t.deepEqual({ open, broken, corrupted }, { open: 20, broken: [], corrupted: 0 }, 'held connections');
    t.true(exchanged > 20);
  }
}

test('a namespace joins and leaves under traffic: nothing fails, nothing breaks, and all is clear again', async (t) => {
  const scene = await openScene(t);
  const { namespace, client, far } = await openThree(scene, false);
  await using link = await LinkView.open(scene, client.node);
  const enrolled = async (): Promise<boolean> =>
    (await Promise.all(NAMES.map((name) => isEnrolled(scene, namespace, name)))).every(Boolean);
  const cleared = async (): Promise<boolean> =>
    !(await Promise.all(NAMES.map((name) => isEnrolled(scene, namespace, name)))).some(Boolean);
  const look = async () =>
    await link.capture(client.ips, far.ips, async () => {
      t.is((await client.call(`http://far/${SECRET}`))?.pod, 'far');
    });
  const isApart = client.node !== far.node;
  if (isApart) t.not(hboneFaults(await look(), SECRET).length, 0, 'control: outside of the mesh it is clear');
  await underTraffic(t, client, async () => {
    const startMs = performance.now();
    await scene.setAmbient(namespace, true);
    await until(enrolled, 'all three are enrolled');
    t.log(`three running pods enrolled in ${Math.round(performance.now() - startMs)} ms, seen by polling`);
    await until(async () => (await client.call('http://far')) !== undefined, 'calls');
  });
  if (isApart) await until(async () => hboneFaults(await look(), SECRET).length === 0, 'calls are HBONE');
  await underTraffic(t, client, async () => {
    await scene.setAmbient(namespace, false);
    await until(cleared, 'nobody is enrolled');
  });
  if (isApart)
    t.true(
      (await look()).some(({ payload }) => payload.includes(SECRET)),
      'clear again',
    );
});

test('one pod opts out, one opts in, and hostNetwork is never enrolled', async (t) => {
  const scene = await openScene(t);
  const ambient = await scene.namespace('ambient');
  const plain = await scene.namespace('plain', { ambient: false });
  const mode = (value: string) => ({ labels: { 'istio.io/dataplane-mode': value } });
  await scene.pods(
    { namespace: ambient, name: 'member' },
    { namespace: ambient, name: 'out', ...mode('none') },
    { namespace: plain, name: 'in', ...mode('ambient') },
    {
      ...{ namespace: ambient, name: 'host', env: { ROLE: 'sniffer' }, spec: { hostNetwork: true } },
      ...{ container: { readinessProbe: undefined }, node: scene.nodes[1] },
    },
  );
  t.true(await isEnrolled(scene, ambient, 'member'));
  t.false(await isEnrolled(scene, ambient, 'out'));
  t.true(await isEnrolled(scene, plain, 'in'));
  t.false(await isEnrolled(scene, ambient, 'host'));
  const pod = manifest('v1', 'Pod', { namespace: ambient, name: 'out' });
  await scene.cluster.patch(pod, { metadata: { labels: { 'istio.io/dataplane-mode': null } } });
  await until(() => isEnrolled(scene, ambient, 'out'), 'the label of a running pod is followed');
});

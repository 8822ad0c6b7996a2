import test, { type ExecutionContext } from 'ava';
import { type AppPod, appDeployment } from './cluster/app-pods.ts';
import { isReady, manifest, SLOW_MS } from './cluster/kubernetes.ts';
import { hboneFaults, LinkView } from './cluster/link-view.ts';
import { kill, restart, rolledOut } from './cluster/rollout.ts';
import { openScene, type Scene, until } from './cluster/scene.ts';
import { SYSTEM } from './cluster/tunnels.ts';

const AGENT = { kind: 'DaemonSet', namespace: SYSTEM, name: 'istio-cni-node' } as const;
const TUNNEL = { kind: 'DaemonSet', namespace: SYSTEM, name: 'ztunnel' } as const;
const CONTROL_PLANE = { kind: 'Deployment', namespace: SYSTEM, name: 'istiod' } as const;
/** Endpoints take a moment to go from every tunnel; the old pod serves on for that long. */
const TERM_DELAY_MS = '5000';

async function openShop(scene: Scene) {
  const namespace = await scene.namespace('shop');
  const outside = await scene.namespace('outside', { ambient: false });
  const [here, there] = scene.nodes;
  await scene.cluster.apply(...appDeployment({ namespace, name: 'server', replicas: 2, env: { TERM_DELAY_MS } }));
  const [client, far, plain] = await scene.pods(
    { namespace, name: 'client', node: here },
    { namespace, name: 'far', node: there },
    { namespace: outside, name: 'plain', node: there },
  );
  await rolledOut(scene.cluster, { kind: 'Deployment', namespace, name: 'server' });
  if (!client || !far || !plain) throw new Error('pods are missing');
  await until(async () => (await client.call('http://server')) !== undefined, 'the shop serves');
  return { namespace, client, far, plain };
}

/** 25 requests a second to each, over new connections: none may fail while `during` runs. */
async function noneFails(t: ExecutionContext, client: AppPod, urls: readonly string[], during: () => Promise<void>) {
  const loads = await Promise.all(urls.map((url) => client.load(url, url, { perSecond: 25, timeoutMs: 30_000 })));
  await during();
  for (const [index, load] of loads.entries()) {
    const { sent, answered, failures, maxMs } = await load.stop();
    t.log(`${urls[index]}: ${answered} of ${sent} answered, the slowest in ${Math.round(maxMs)} ms`);
    t.deepEqual(failures.slice(0, 5), []);
    t.is(answered, sent);
    t.true(sent > 50);
  }
}

test('the agent is killed and rolled under load: running pods do not notice', async (t) => {
  const scene = await openScene(t);
  const { client, plain } = await openShop(scene);
  await noneFails(t, client, ['http://server', `http://${plain.ip}:8080`], async () => {
    await kill(scene.cluster, SYSTEM, 'k8s-app=istio-cni-node');
    await rolledOut(scene.cluster, AGENT);
    await restart(scene.cluster, AGENT);
  });
});

test('the control plane is killed and rolled under load', async (t) => {
  const scene = await openScene(t);
  const { client, plain } = await openShop(scene);
  await noneFails(t, client, ['http://server', `http://${plain.ip}:8080`], async () => {
    await kill(scene.cluster, SYSTEM, 'app=istiod');
    await rolledOut(scene.cluster, CONTROL_PLANE);
    await restart(scene.cluster, CONTROL_PLANE);
  });
});

test('the tunnels are rolled under load: new connections and passthrough are never refused', async (t) => {
  const scene = await openScene(t);
  const { client, plain } = await openShop(scene);
  await noneFails(t, client, ['http://server', 'http://far', `http://${plain.ip}:8080`], async () => {
    await restart(scene.cluster, TUNNEL);
  });
});

test('the tunnels are killed: nothing is clear meanwhile, and they recover by themselves', async (t) => {
  const scene = await openScene(t);
  const { client, far } = await openShop(scene);
  await using link = await LinkView.open(scene, client.node);
  const load = await client.load('load', 'http://far/x-e2e-killed', { timeoutMs: 3_000 });
  const packets = await link.capture(client.ips, far.ips, async () => {
    await kill(scene.cluster, SYSTEM, 'app=ztunnel');
    await rolledOut(scene.cluster, TUNNEL);
    await until(async () => (await client.call('http://far')) !== undefined, 'calls are answered again', SLOW_MS);
  });
  const { sent, answered } = await load.stop();
  t.log(`${answered} of ${sent} answered while both tunnels were killed at once`);
  if (client.node !== far.node) t.deepEqual(hboneFaults(packets, 'x-e2e-killed'), []);
});

test('the rolling restart of the destination costs no request', async (t) => {
  const scene = await openScene(t);
  const { client, namespace } = await openShop(scene);
  await noneFails(t, client, ['http://server'], async () => {
    await restart(scene.cluster, { kind: 'Deployment', namespace, name: 'server' });
  });
});

test('control: without any pod of the destination requests fail', async (t) => {
  const scene = await openScene(t);
  const { client, namespace } = await openShop(scene);
  const load = await client.load('load', 'http://server', { timeoutMs: 3_000 });
  await kill(scene.cluster, namespace, 'app=server');
  await rolledOut(scene.cluster, { kind: 'Deployment', namespace, name: 'server' });
  const { failures } = await load.stop();
  t.true(failures.length > 0);
});

test('a node is drained: its pods go on elsewhere, and no request fails', async (t) => {
  const scene = await openScene(t);
  const [here, there] = scene.nodes;
  if (here === there) return void t.pass('one node only');
  const { client, namespace } = await openShop(scene);
  const node = manifest('v1', 'Node', { name: there });
  t.teardown(() => scene.cluster.patch(node, { spec: { unschedulable: null } }));
  await noneFails(t, client, ['http://server'], async () => {
    await scene.cluster.patch(node, { spec: { unschedulable: true } });
    for (const pod of await scene.cluster.pods(namespace, 'app=server')) {
      if (pod.spec.nodeName !== there) continue;
      // One after the other, as an eviction budget of one has it.
      await scene.cluster.evict(namespace, pod.metadata.name);
      await until(
        async () => {
          const ready = (await scene.cluster.pods(namespace, 'app=server')).filter(isReady);
          return ready.filter(({ metadata }) => metadata.name !== pod.metadata.name).length >= 2;
        },
        'a pod takes its place',
        SLOW_MS,
      );
    }
    await until(
      async () => (await scene.cluster.pods(namespace, 'app=server')).every(({ spec }) => spec.nodeName === here),
      'the node is empty of them',
      SLOW_MS,
    );
  });
});

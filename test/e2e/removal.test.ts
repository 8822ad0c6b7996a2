import test from 'ava';
import { AppPod, appPod } from './cluster/app-pods.ts';
import { culvert } from './cluster/culvert.ts';
import { hboneFaults, LinkView } from './cluster/link-view.ts';
import { isEnrolled, openScene, until } from './cluster/scene.ts';

/** Folders of a node in which the mesh has files while it is there. */
const FOLDERS = ['/etc/cni/net.d', '/opt/cni/bin', '/sys/fs/bpf'];

test('the mesh is removed under traffic: new connections go on, and the nodes are as before', async (t) => {
  t.timeout(10 * 60_000);
  const scene = await openScene(t);
  const { cluster } = scene;
  const namespace = await scene.namespace('shop');
  const outside = await scene.namespace('node', { ambient: false });
  const [here, there] = scene.nodes;
  const [client, far] = await scene.pods(
    { namespace, name: 'client', node: here },
    { namespace, name: 'far', node: there },
  );
  if (!client || !far) throw new Error('pods are missing');
  const volumes = FOLDERS.map((path, index) => ({ name: `v${index}`, hostPath: { path } }));
  const volumeMounts = FOLDERS.map((path, index) => ({ name: `v${index}`, mountPath: `/host${path}`, readOnly: true }));
  const container = { volumeMounts, readinessProbe: undefined, securityContext: { runAsUser: 0 } };
  await cluster.apply(appPod({ namespace: outside, name: 'viewer', node: here, container, spec: { volumes } }));
  await using viewer = await AppPod.open(cluster, outside, 'viewer');
  const ours = async () => (await viewer.find('/host', '^istio-cni$|^culvert$|"istio-cni"')).sort();
  t.true((await ours()).length >= 2, `control: with the mesh there is something to find: ${await ours()}`);
  await using link = await LinkView.open(scene, here);
  const loads = [
    await client.load('name', 'http://far', { timeoutMs: 30_000 }),
    await client.load('ip', `http://${far.ip}:8080`, { timeoutMs: 30_000 }),
  ];
  t.log(await culvert('uninstall'));
  for (const load of loads) {
    const { sent, answered, failures } = await load.stop();
    t.log(`${answered} of ${sent} answered`);
    t.deepEqual(failures.slice(0, 5), []);
    t.is(answered, sent);
  }
  t.deepEqual(await ours(), []);
  await until(async () => !(await isEnrolled(scene, namespace, 'client')), 'no pod says that it is in the mesh');
  const packets = await link.capture(client.ips, far.ips, async () => {
    t.is((await client.call('http://far/x-e2e-removed'))?.pod, 'far');
  });
  if (client.node !== far.node) t.not(hboneFaults(packets, 'x-e2e-removed').length, 0, 'traffic is clear again');
  const [late] = await scene.pods({ namespace, name: 'late', node: here });
  t.is((await late?.call('http://far'))?.pod, 'far', 'new pods start, and talk');
});

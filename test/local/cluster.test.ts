/** The cluster without a mesh: network, CNI chain, kubelet, services, DNS, and that nothing is left behind. */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { eventually, SHOP, startCluster, webServer } from './cluster-fixture.ts';

test('pods of two nodes reach each other by address, service and name, over both families', async (t) => {
  await using cluster = await startCluster({ mesh: false });
  await cluster.apply([SHOP, webServer('a', { node: 'node1' }), webServer('b', { node: 'node2' })].join('---\n'));
  const b = await cluster.readyPod('b');
  for (const target of [`http://${b.status?.podIP}:8080/`, 'http://b/', 'http://b.shop.svc.cluster.local/']) {
    const { stdout, stderr } = await cluster.exec('a', 'curl', '-sS', '-m', '5', target);
    t.true(stdout.startsWith(b.metadata.name), `${target}: ${stdout}${stderr}`);
  }
  for (const family of ['-4', '-6']) {
    const { stdout, stderr } = await cluster.exec('a', 'curl', '-sS', family, '-m', '5', 'http://b/');
    t.true(stdout.startsWith(b.metadata.name), `${family}: ${stdout}${stderr}`);
  }
  const itself = await cluster.exec('a', 'curl', '-sS', '-m', '5', 'http://a/');
  t.true(itself.stdout.startsWith('a-'), 'a pod reaches itself through its service');
});

test('a service without ready pods refuses, an unknown name does not resolve', async (t) => {
  await using cluster = await startCluster({ mesh: false });
  const none =
    'apiVersion: v1\nkind: Service\nmetadata: {name: none, namespace: shop}\nspec: {selector: {app: none}, ports: [{port: 80}]}\n';
  await cluster.apply([SHOP, webServer('a'), none].join('---\n'));
  const refused = await cluster.exec('a', 'curl', '-sS', '-m', '5', 'http://none/');
  t.is(refused.code, 7, refused.stderr);
  const unknown = await cluster.exec('a', 'curl', '-sS', '-m', '5', 'http://nobody/');
  t.is(unknown.code, 6, unknown.stderr);
});

test('a changed template replaces pods, a crashed container is started again, a removed deployment ends its pods', async (t) => {
  await using cluster = await startCluster({ mesh: false });
  await cluster.apply([SHOP, webServer('a', { replicas: 2 })].join('---\n'));
  const first = await cluster.readyPod('a');
  await cluster.apply(webServer('a', { replicas: 2, version: 'v2' }));
  await eventually('both pods are of the new template', async () => {
    const names = (await cluster.pods()).map(({ metadata }) => metadata);
    return names.length === 2 && names.every(({ labels }) => labels?.version === 'v2') ? true : undefined;
  });
  const second = await cluster.readyPod('a');
  t.not(second.metadata.name, first.metadata.name);
  await cluster.exec(second.metadata.name, 'curl', '-s', '-m', '5', 'http://localhost:8080/exit');
  await eventually('the container was started again', async () => {
    const pod = (await cluster.pods()).find(({ metadata }) => metadata.uid === second.metadata.uid);
    const status = pod?.status?.containerStatuses?.[0];
    return status?.restartCount === 1 && status.ready ? true : undefined;
  });
  await cluster.remove(webServer('a'));
  await eventually('no pods are left', async () => ((await cluster.pods()).length === 0 ? true : undefined));
  const left = (await cluster.remains()).filter((name) => name.includes('.pod-'));
  t.deepEqual(left, []);
});

test('a bare pod that comes back while it ends runs again', async (t) => {
  await using cluster = await startCluster({ mesh: false });
  const listens = join(cluster.plan.stateDir, 'listens');
  const told = join(cluster.plan.stateDir, 'told-to-end');
  const bare = `apiVersion: v1
kind: Pod
metadata: { name: bare, namespace: shop }
spec:
  nodeName: node1
  terminationGracePeriodSeconds: 1
  containers: [{ name: c, command: [sh, -c, "trap 'touch ${told}' TERM; touch ${listens}; while :; do sleep 1; done"] }]
`;
  await cluster.apply([SHOP, bare].join('---\n'));
  const containerOf = async () => {
    const pod = (await cluster.pods()).find(({ metadata }) => metadata.name === 'bare');
    const state = pod?.status?.containerStatuses?.[0];
    return state?.ready ? state.containerID : undefined;
  };
  const first = await eventually('the pod runs', containerOf);
  await eventually('the container listens to signals', async () => (existsSync(listens) ? true : undefined));
  await cluster.remove(bare);
  await eventually('the pod ends', async () => (existsSync(told) ? true : undefined));
  await cluster.apply(bare);
  await eventually('another container runs', async () => {
    const now = await containerOf();
    return now !== undefined && now !== first ? true : undefined;
  });
  const { code, stderr } = await cluster.exec('bare', 'true');
  t.is(code, 0, stderr);
});

test('a pod whose plugin refuses never runs, and runs when the plugin gives way', async (t) => {
  await using cluster = await startCluster({ mesh: false });
  const node = cluster.plan.nodes[0]!; // a cluster has two nodes
  const conflist = join(node.dir, 'cni/net.d/10-podnet.conflist');
  const text = await readFile(conflist, 'utf8');
  const list = JSON.parse(text) as { plugins: object[] };
  await writeFile(join(node.dir, 'cni/bin/refuse'), '#!/bin/sh\necho \'{"code":100,"msg":"not today"}\'\nexit 1\n', {
    mode: 0o755,
  });
  await writeFile(conflist, JSON.stringify({ ...list, plugins: [...list.plugins, { type: 'refuse' }] }));
  await cluster.apply([SHOP, webServer('a', { node: 'node1' })].join('---\n'));
  const waiting = await eventually('the refusal shows in the status', async () => {
    const [pod] = await cluster.pods();
    const condition = pod?.status?.conditions?.find(({ type }) => type === 'PodReadyToStartContainers');
    return condition?.message === undefined ? undefined : { pod, message: condition.message };
  });
  t.regex(waiting.message, /not today/);
  t.is(waiting.pod?.status?.podIP, undefined);
  await writeFile(conflist, text);
  t.truthy(await cluster.readyPod('a'));
});

test('clusters live side by side, also when one name starts like the other', async (t) => {
  const name = `s${process.pid}`;
  await using one = await startCluster({ mesh: false, name });
  await using other = await startCluster({ mesh: false, name: `${name}-x` });
  for (const cluster of [one, other]) await cluster.apply([SHOP, webServer('a')].join('---\n'));
  t.truthy(await one.readyPod('a'));
  t.truthy(await other.readyPod('a'));
  await one.down();
  t.deepEqual(await one.remains(), []);
  const { stdout } = await other.exec('a', 'curl', '-sS', '-m', '5', 'http://a/');
  t.true(stdout.startsWith('a-'));
});

test('after a kill -9 of the supervisor, down leaves nothing', async (t) => {
  await using cluster = await startCluster({ mesh: false });
  await cluster.apply([SHOP, webServer('a', { replicas: 2 })].join('---\n'));
  await cluster.readyPod('a');
  t.true((await cluster.remains()).length > 3, 'control: a running cluster is seen');
  process.kill(await cluster.pidOf('supervisor'), 'SIGKILL');
  await cluster.down();
  t.deepEqual(await cluster.remains(), []);
  await cluster.down();
});

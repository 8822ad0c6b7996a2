import test from 'ava';
import { type AppPod, accountOf, appPod, appPodSpec, serviceOf, visitorSpec } from './cluster/app-pods.ts';
import { type Manifest, manifest, SLOW_MS } from './cluster/kubernetes.ts';
import { rolledOut } from './cluster/rollout.ts';
import { isEnrolled, openScene, type Scene, until } from './cluster/scene.ts';

function strict(namespace: string): Manifest {
  const spec = { mtls: { mode: 'STRICT' } };
  return manifest('security.istio.io/v1', 'PeerAuthentication', { namespace, name: 'strict' }, { spec });
}

/** A namespace whose server takes what is HBONE only: whoever is answered was captured from its first packet. */
async function openStrict(scene: Scene): Promise<{ readonly namespace: string; readonly server: AppPod }> {
  const namespace = await scene.namespace('strict');
  const [server] = await scene.pods({ namespace, name: 'server' });
  const outside = await scene.namespace('outside', { ambient: false });
  const [unmeshed] = await scene.pods({ namespace: outside, name: 'unmeshed' });
  await scene.cluster.apply(strict(namespace));
  await until(async () => (await unmeshed?.call(`http://${server?.ip}:8080`, 3_000)) === undefined, 'STRICT holds');
  return { namespace, server: server as AppPod };
}

async function ended(scene: Scene, namespace: string, selector: string, phase: 'Succeeded' | 'Failed'): Promise<void> {
  await until(
    async () => (await scene.cluster.pods(namespace, selector)).some(({ status }) => status.phase === phase),
    `${selector} is ${phase}`,
    SLOW_MS,
  );
}

test('Jobs and init containers are in the mesh from their first packet, and end', async (t) => {
  const scene = await openScene(t);
  const { namespace } = await openStrict(scene);
  const { cluster } = scene;
  const template = { metadata: { labels: { app: 'job' } }, spec: visitorSpec('http://server') };
  await cluster.apply(manifest('batch/v1', 'Job', { namespace, name: 'job' }, { spec: { backoffLimit: 0, template } }));
  await ended(scene, namespace, 'app=job', 'Succeeded');
  const { containers } = visitorSpec('http://server') as { containers: readonly object[] };
  const initContainers = [{ ...containers[0], name: 'init' }];
  await cluster.apply(appPod({ namespace, name: 'with-init', account: 'server', spec: { initContainers } }));
  await cluster.ready(namespace, 'with-init');
  t.true(await isEnrolled(scene, namespace, 'with-init'));
  const outside = await scene.namespace('other', { ambient: false });
  await cluster.apply(accountOf(outside, 'job'));
  const clear = { metadata: { labels: { app: 'job' } }, spec: visitorSpec(`http://server.${namespace}`) };
  await cluster.apply(
    manifest('batch/v1', 'Job', { namespace: outside, name: 'job' }, { spec: { backoffLimit: 0, template: clear } }),
  );
  await ended(scene, outside, 'app=job', 'Failed');
  t.pass('control: the same Job outside of the mesh is refused');
});

test('a StatefulSet is reached by the names of its pods, through its headless Service', async (t) => {
  const scene = await openScene(t);
  const { cluster } = scene;
  const { namespace } = await openStrict(scene);
  const [client] = await scene.pods({ namespace, name: 'client' });
  const ports = [{ name: 'http', port: 8_080 }];
  const template = {
    metadata: { labels: { app: 'web' } },
    spec: appPodSpec({ namespace, name: 'web', account: 'web' }),
  };
  await cluster.apply(
    accountOf(namespace, 'web'),
    serviceOf(namespace, 'web', { clusterIP: 'None', selector: { app: 'web' }, ports }),
    manifest(
      'apps/v1',
      'StatefulSet',
      { namespace, name: 'web' },
      {
        spec: {
          serviceName: 'web',
          replicas: 2,
          podManagementPolicy: 'Parallel',
          selector: { matchLabels: { app: 'web' } },
          template,
        },
      },
    ),
  );
  await rolledOut(cluster, { kind: 'StatefulSet', namespace, name: 'web' });
  for (const name of ['web-0', 'web-1']) {
    await until(async () => (await client?.call(`http://${name}.web:8080`))?.pod === name, `${name}.web answers`);
    t.true(await isEnrolled(scene, namespace, name));
  }
});

test('ports that the owner excludes are clear, and the status of the pod says what that means', async (t) => {
  const scene = await openScene(t);
  const { cluster } = scene;
  const { namespace } = await openStrict(scene);
  const annotations = { 'culvert.dev/exclude-inbound-ports': '8081' };
  const outside = await scene.namespace('clear', { ambient: false });
  const [excluded, unmeshed] = await scene.pods(
    { namespace, name: 'excluded', annotations },
    { namespace: outside, name: 'unmeshed' },
  );
  t.truthy(await unmeshed?.call(`http://${excluded?.ip}:8081`), 'the excluded port');
  t.is(await unmeshed?.call(`http://${excluded?.ip}:8080`, 3_000), undefined, 'control: any other port');
  const condition = async () =>
    (await cluster.pod(namespace, 'excluded'))?.status.conditions?.find(
      ({ type }) => type === 'culvert.dev/FullyCaptured',
    );
  await until(async () => (await condition())?.status === 'False', 'the status tells');
  t.regex((await condition())?.message ?? '', /ports 8081 .*STRICT/);
  const pod = manifest('v1', 'Pod', { namespace, name: 'excluded' });
  await cluster.patch(pod, { metadata: { annotations: { 'culvert.dev/exclude-inbound-ports': null } } });
  await until(
    async () => (await unmeshed?.call(`http://${excluded?.ip}:8081`, 3_000)) === undefined,
    'no exception any more',
  );
  await until(async () => (await condition()) === undefined, 'nor in the status');
});

for (const backend of ['nftables', 'iptables'] as const) {
  test(`a pod that asks for ${backend} gets it, and is in the mesh as the others`, async (t) => {
    const scene = await openScene(t);
    const { namespace } = await openStrict(scene);
    const annotations = { 'culvert.dev/redirect': backend };
    const [client] = await scene.pods(
      { namespace, name: 'client', annotations, node: scene.nodes[0] },
      { namespace, name: 'served', annotations, node: scene.nodes[1] },
    );
    t.is(client?.pod.metadata.annotations?.['culvert.dev/redirect-backend'], backend);
    t.is((await client?.call('http://server'))?.pod, 'server');
    t.is((await client?.call('http://served'))?.pod, 'served');
  });
}

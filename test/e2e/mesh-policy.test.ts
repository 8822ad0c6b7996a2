import test from 'ava';
import { type AppPod, appPod } from './cluster/app-pods.ts';
import { type Manifest, manifest } from './cluster/kubernetes.ts';
import { openScene, type Scene, until } from './cluster/scene.ts';

const SECURITY = 'security.istio.io/v1';

function strict(namespace: string, portLevelMtls?: object): Manifest {
  const spec = {
    mtls: { mode: 'STRICT' },
    ...(portLevelMtls ? { portLevelMtls, selector: { matchLabels: { app: 'server' } } } : {}),
  };
  return manifest(SECURITY, 'PeerAuthentication', { namespace, name: 'strict' }, { spec });
}

function policy(namespace: string, action: 'ALLOW' | 'DENY', rule: object): Manifest {
  const spec = { action, selector: { matchLabels: { app: 'server' } }, rules: [rule] };
  return manifest(SECURITY, 'AuthorizationPolicy', { namespace, name: 'policy' }, { spec });
}

async function answers(client: AppPod, url: string): Promise<boolean> {
  return (await client.call(url, 3_000)) !== undefined;
}

async function openCast(scene: Scene) {
  const [here, there] = scene.nodes;
  const namespace = await scene.namespace('shop');
  const elsewhere = await scene.namespace('other');
  const outside = await scene.namespace('outside', { ambient: false });
  const [server, friend, stranger, unmeshed] = await scene.pods(
    { namespace, name: 'server', node: there },
    { namespace, name: 'friend', node: here },
    { namespace: elsewhere, name: 'stranger', node: here },
    { namespace: outside, name: 'unmeshed', node: here },
  );
  if (!server || !friend || !stranger || !unmeshed) throw new Error('pods are missing');
  return { namespace, elsewhere, server, friend, stranger, unmeshed, url: `http://${server.ip}:8080` };
}

test('STRICT refuses the unmeshed and lets the meshed and the kubelet in', async (t) => {
  const scene = await openScene(t);
  const { cluster } = scene;
  const { namespace, server, friend, unmeshed, url } = await openCast(scene);
  t.true(await answers(unmeshed, url), 'control: without STRICT the unmeshed get in');
  await cluster.apply(strict(namespace));
  await until(async () => !(await answers(unmeshed, url)), 'the unmeshed are refused');
  t.true(await answers(friend, url));
  // The readiness probe of the kubelet goes to the same port: pods made under STRICT become ready, and the old stay so.
  const [late] = await scene.pods({ namespace, name: 'late', node: scene.nodes[1] });
  t.truthy(late);
  const restarts = (await cluster.ready(namespace, 'server')).status.containerStatuses?.[0]?.restartCount;
  t.is(restarts, 0);
  await cluster.delete(strict(namespace));
  await cluster.apply(strict(namespace, { 8081: { mode: 'PERMISSIVE' } }));
  await until(() => answers(unmeshed, `http://${server.ip}:8081`), 'a port is excepted');
  t.false(await answers(unmeshed, url));
});

test('a liveness probe that must fail under STRICT does: only the kubelet is let through', async (t) => {
  const scene = await openScene(t);
  const namespace = await scene.namespace('probes');
  await scene.cluster.apply(strict(namespace));
  const liveness = { periodSeconds: 1, timeoutSeconds: 2, failureThreshold: 3 };
  const [alive] = await scene.pods({
    namespace,
    name: 'alive',
    container: {
      livenessProbe: { ...liveness, tcpSocket: { port: 9_090 } },
      startupProbe: { ...liveness, failureThreshold: 60, httpGet: { path: '/', port: 8_081 } },
    },
  });
  t.truthy(alive);
  const dead = { ...liveness, httpGet: { path: '/', port: 8_099 } };
  await scene.cluster.apply(
    appPod({ namespace, name: 'dead', container: { readinessProbe: undefined, livenessProbe: dead } }),
  );
  await until(
    async () => {
      const pod = await scene.cluster.pod(namespace, 'dead');
      return (pod?.status.containerStatuses?.[0]?.restartCount ?? 0) > 0;
    },
    'control: a probe of a port that nobody serves fails',
    90_000,
  );
  const pod = await scene.cluster.pod(namespace, 'alive');
  t.is(pod?.status.containerStatuses?.[0]?.restartCount, 0);
});

const CASES: readonly (readonly [
  string,
  (cast: { namespace: string; elsewhere: string; friendIps: readonly string[] }) => object,
  Readonly<Record<string, boolean>>,
])[] = [
  [
    'principal',
    ({ namespace }) => ({ from: [{ source: { principals: [`cluster.local/ns/${namespace}/sa/friend`] } }] }),
    { friend: true, stranger: false, unmeshed: false },
  ],
  [
    'namespace',
    ({ elsewhere }) => ({ from: [{ source: { namespaces: [elsewhere] } }] }),
    { friend: false, stranger: true, unmeshed: false },
  ],
  ['port', () => ({ to: [{ operation: { ports: ['8080'] } }] }), { friend: true, stranger: true, unmeshed: true }],
  [
    'IP',
    ({ friendIps }) => ({ from: [{ source: { ipBlocks: friendIps } }] }),
    { friend: true, stranger: false, unmeshed: false },
  ],
];

for (const [kind, ruleOf, expected] of CASES) {
  test(`L4 policy by ${kind}: ALLOW, the same as DENY, and control: withheld`, async (t) => {
    const scene = await openScene(t);
    const cast = await openCast(scene);
    const callers = { friend: cast.friend, stranger: cast.stranger, unmeshed: cast.unmeshed };
    const rule = ruleOf({ ...cast, friendIps: cast.friend.ips });
    const seen = async () =>
      Object.fromEntries(
        await Promise.all(
          Object.entries(callers).map(async ([name, pod]) => [name, await answers(pod, cast.url)] as const),
        ),
      );
    const all = { friend: true, stranger: true, unmeshed: true };
    t.deepEqual(await seen(), all, 'control: without the policy everybody gets in');
    const holds = (wanted: object, what: string) =>
      until(async () => JSON.stringify(await seen()) === JSON.stringify(wanted), what);
    await scene.cluster.apply(policy(cast.namespace, 'ALLOW', rule));
    await holds(expected, `ALLOW by ${kind}`);
    if (kind === 'port') t.false(await answers(cast.friend, `http://${cast.server.ip}:8081`));
    await scene.cluster.apply(policy(cast.namespace, 'DENY', rule));
    await holds(Object.fromEntries(Object.entries(expected).map(([name, ok]) => [name, !ok])), `DENY by ${kind}`);
    await scene.cluster.delete(policy(cast.namespace, 'DENY', rule));
    await holds(all, 'the policy is gone');
  });
}

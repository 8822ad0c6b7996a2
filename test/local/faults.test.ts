/** kill -9 of every program of the mesh: what goes on meanwhile, and how soon things are well after its return. */
import anyTest, { type TestFn } from 'ava';
import { readLink, without } from '../../src/cli/demo-evidence.ts';
import { eventually, SHOP, webServer } from './cluster-fixture.ts';
import { enrol, killAndHold, loadGoesOn, lossesSince, type MeshFixture, startShop } from './mesh-fixture.ts';

const test = anyTest as TestFn<MeshFixture>;
const DETAILS = 'http://details:9080/details/0';
/** From the moment a program may start again; a busy machine starts Node slowly. */
const RECOVERY_LIMIT_MS = 10_000;

test.before(async (t) => {
  t.timeout(120_000);
  t.context = await startShop();
  const { stage } = t.context;
  await enrol(stage);
  // a pod without a certificate needs the controller; from here on all have theirs
  for (const app of ['ratings', 'shopper']) {
    await eventually(`${app} may call`, async () => ((await stage.statusOf(app, DETAILS)) === 200 ? true : undefined));
  }
  await loadGoesOn(stage);
});
test.after.always(async (t) => {
  await t.context.cluster?.[Symbol.asyncDispose]();
});

test.serial('without the controller pods go on talking; after its return policies arrive again', async (t) => {
  const { cluster, stage } = t.context;
  const before = await stage.load();
  const controller = await killAndHold(cluster, 'controller');
  t.teardown(controller.release);
  for (let i = 0; i < 5; i++) t.is(await stage.statusOf('ratings', DETAILS), 200);
  await stage.apply('deny-ratings.yaml');
  t.is(await stage.statusOf('ratings', DETAILS), 200, 'control: nobody tells the tunnels');
  await controller.release();
  await eventually(
    'refused',
    async () => ((await stage.statusOf('ratings', DETAILS)) === 0 ? true : undefined),
    RECOVERY_LIMIT_MS,
  );
  await stage.remove('deny-ratings.yaml');
  await eventually('allowed', async () => ((await stage.statusOf('ratings', DETAILS)) === 200 ? true : undefined));
  await loadGoesOn(stage);
  t.deepEqual(lossesSince(before, await stage.load()), [], 'whom the policy does not name lost nothing');
});

test.serial('without the agent connections live and new ones are made; pods wait and join at its return', async (t) => {
  const { cluster, stage } = t.context;
  const before = await stage.load();
  const agent = await killAndHold(cluster, 'cni/node1');
  t.teardown(agent.release);
  for (let i = 0; i < 5; i++) t.is(await stage.statusOf('shopper', DETAILS), 200);
  await cluster.apply([SHOP, webServer('late', { node: 'node1' })].join('---\n'));
  await cluster.label('shop', { 'istio.io/dataplane-mode': 'ambient' });
  await eventually('the new pod is refused by the plugin', async () => {
    const pod = (await cluster.pods()).find(({ metadata }) => metadata.name.startsWith('late-'));
    return pod?.status?.conditions?.some(({ message }) => message?.includes('istio-cni')) ? true : undefined;
  });
  await agent.release();
  const late = await cluster.readyPod('late');
  t.is(late.metadata.annotations?.['ambient.istio.io/redirection'], 'enabled');
  await loadGoesOn(stage);
  const after = await stage.load();
  t.is(after.ledger.connections, before.ledger.connections, 'the long-lived connection survived');
  t.deepEqual(lossesSince(before, after), []);
  await cluster.remove(webServer('late'));
  await eventually('the pod is gone', async () =>
    (await cluster.pods()).some(({ metadata }) => metadata.name.startsWith('late-')) ? undefined : true,
  );
});

test.serial(
  'without the tunnel calls are refused and nothing leaves in clear; they go through soon after its return',
  async (t) => {
    const { cluster, stage } = t.context;
    const before = readLink(await stage.capture(500)).other;
    const tunnel = await killAndHold(cluster, 'ztunnel/node1');
    t.teardown(tunnel.release);
    const seen = readLink(await stage.capture(1_000));
    t.is(await stage.statusOf('ratings', DETAILS), 0);
    t.deepEqual(without(seen.clear, before), []);
    await cluster.apply([SHOP, webServer('early', { node: 'node1' })].join('---\n'));
    await cluster.label('shop', { 'istio.io/dataplane-mode': 'ambient' });
    const waiting = await eventually('a new pod is refused by the plugin', async () => {
      const pod = (await cluster.pods()).find(({ metadata }) => metadata.name.startsWith('early-'));
      return pod?.status?.conditions?.some(({ message }) => message?.includes('istio-cni')) ? pod : undefined;
    });
    t.deepEqual(waiting.status?.containerStatuses, [], 'no container runs uncaptured');
    const startedMs = performance.now();
    await tunnel.release();
    await eventually(
      'the call goes through',
      async () => ((await stage.statusOf('ratings', DETAILS)) === 200 ? true : undefined),
      RECOVERY_LIMIT_MS,
    );
    t.log(`calls went through ${Math.round(performance.now() - startedMs)} ms after the tunnel might start`);
    const early = await cluster.readyPod('early');
    t.is(early.metadata.annotations?.['ambient.istio.io/redirection'], 'enabled');
    await loadGoesOn(stage);
  },
);

test.serial('a supervised component that is killed comes back by itself', async (t) => {
  const { cluster, stage } = t.context;
  for (const component of ['controller', 'cni/node2', 'ztunnel/node2']) {
    const pid = await cluster.pidOf(component);
    process.kill(pid, 'SIGKILL');
    const next = await eventually(`${component} was started again`, async () => {
      const now = await cluster.pidOf(component);
      return now === pid ? undefined : now;
    });
    t.not(next, pid);
  }
  await eventually('calls go through', async () =>
    (await stage.statusOf('ratings', DETAILS)) === 200 ? true : undefined,
  );
});

test.serial('after a kill -9 of the supervisor pods go on, and down leaves nothing', async (t) => {
  const { cluster, stage } = t.context;
  process.kill(await cluster.pidOf('supervisor'), 'SIGKILL');
  await loadGoesOn(stage);
  t.true((await cluster.remains()).length > 10, 'control: a running cluster is seen');
  await cluster.down();
  t.deepEqual(await cluster.remains(), []);
});

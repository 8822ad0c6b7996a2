/**
 * kill -9 at random moments, in the middle of what the programs do. Moments come from a seed, which every test logs;
 * CULVERT_SEED repeats a run. What counts: no clear text of a captured pod, nothing that stays broken, nothing left.
 */
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { type LinkEvidence, readLink } from '../../src/cli/demo-evidence.ts';
import { captureLink } from '../../src/local/index.ts';
import { eventually, SHOP } from './cluster-fixture.ts';
import { enrol, killAndHold, loadGoesOn, lossesSince, type MeshFixture, startShop } from './mesh-fixture.ts';

const test = anyTest as TestFn<MeshFixture>;
const DETAILS = 'http://details:9080/details/0';
const DETAILS_FROM_SHOP = 'http://details.bookinfo:9080/details/0';
const ROUNDS = 3;
/** Longer than what is interrupted takes on a quiet machine. */
const MOMENT_MAX_MS = 600;
const RETURN_LIMIT_MS = 30_000;
const SEED = Number(process.env.CULVERT_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** Numbers in [0, 1) that follow from the seed and the test's title: a test alone repeats what it did among others. */
function randomOf(t: ExecutionContext<MeshFixture>): () => number {
  t.log(`seed ${SEED}`);
  let state = [...t.title].reduce((hash, letter) => (Math.imul(hash, 31) + letter.charCodeAt(0)) | 0, SEED);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Kills `component` at a moment; its supervisor starts it again. */
async function killSoon({ cluster }: MeshFixture, component: string, atMs: number): Promise<void> {
  await pause(atMs);
  process.kill(await cluster.pidOf(component), 'SIGKILL');
}

/** Connections opened meanwhile that are not HBONE. Those that were open before a pod joined go on as they are. */
function openedInClear({ opened, other }: LinkEvidence): readonly string[] {
  return [...opened].filter((connection) => other.has(connection));
}

/** A pod on node1 that calls the details service without a pause from its first moment. */
const eager = (name: string, labels: string) => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: shop, labels: {${labels}}}
spec:
  nodeName: node1
  terminationGracePeriodSeconds: 0
  containers:
    - name: c
      command: [sh, -c, 'while :; do curl -s -o /dev/null -m 2 ${DETAILS_FROM_SHOP}; sleep 0.02; done']
`;

test.before(async (t) => {
  t.timeout(180_000);
  t.context = await startShop();
});
test.after.always(async (t) => {
  await t.context.cluster?.[Symbol.asyncDispose]();
});

test.serial(
  'an agent killed while running pods join or leave: no connection is lost, and all end as asked',
  async (t) => {
    t.timeout(300_000);
    const { stage } = t.context;
    const random = randomOf(t);
    for (let round = 0; round < ROUNDS; round++) {
      const before = await stage.load();
      const node = random() < 0.5 ? 'node1' : 'node2';
      await stage.label('istio.io/dataplane-mode', 'ambient');
      await killSoon(t.context, `cni/${node}`, random() * MOMENT_MAX_MS);
      await stage.redirection('enabled');
      await loadGoesOn(stage);
      t.deepEqual(lossesSince(before, await stage.load()), [], `joining, round ${round}`);
      t.deepEqual(openedInClear(readLink(await stage.capture(700))), []);
      await stage.label('istio.io/dataplane-mode', undefined);
      await killSoon(t.context, `cni/${node}`, random() * MOMENT_MAX_MS);
      await stage.redirection(undefined);
      await loadGoesOn(stage);
      t.deepEqual(lossesSince(before, await stage.load()), [], `leaving, round ${round}`);
    }
  },
);

test.serial(
  'a tunnel killed while running pods join: they join at its return, and are then in clear no more',
  async (t) => {
    t.timeout(300_000);
    const { stage } = t.context;
    const random = randomOf(t);
    for (let round = 0; round < ROUNDS; round++) {
      const node = random() < 0.5 ? 'node1' : 'node2';
      await stage.label('istio.io/dataplane-mode', 'ambient');
      await killSoon(t.context, `ztunnel/${node}`, random() * MOMENT_MAX_MS);
      await stage.redirection('enabled');
      await eventually('calls go through', () => answers(t, 'ratings'), RETURN_LIMIT_MS);
      await loadGoesOn(stage);
      t.deepEqual(openedInClear(readLink(await stage.capture(700))), []);
      if (round === ROUNDS - 1) continue; // the tests that follow have everything enrolled
      await stage.label('istio.io/dataplane-mode', undefined);
      await stage.redirection(undefined);
    }
  },
);

test.serial('a tunnel killed under load: nothing is in clear meanwhile, and calls go through again', async (t) => {
  t.timeout(300_000);
  const { cluster, stage } = t.context;
  const random = randomOf(t);
  await enrol(stage);
  for (let round = 0; round < ROUNDS; round++) {
    const node = random() < 0.5 ? 'node1' : 'node2';
    const seen = readLink(
      await captureLink(cluster.plan, async () => {
        await killSoon(t.context, `ztunnel/${node}`, random() * MOMENT_MAX_MS);
        await eventually('calls go through', () => answers(t, 'ratings'), RETURN_LIMIT_MS);
      }),
    );
    t.deepEqual(openedInClear(seen), []);
    t.deepEqual([...seen.notTls], []);
    t.true(seen.hbone.size > 0, 'control: the capture sees the load');
    await loadGoesOn(stage);
  }
});

test.serial(
  'a pod made while the agent is killed never runs uncaptured, and is made at the agent’s return',
  async (t) => {
    t.timeout(300_000);
    const { cluster, stage } = t.context;
    const random = randomOf(t);
    await enrol(stage);
    await cluster.apply(SHOP);
    for (let round = 0; round < ROUNDS; round++) {
      const name = `eager-${round}`;
      const manifest = eager(name, 'istio.io/dataplane-mode: ambient');
      const seen = readLink(
        await captureLink(cluster.plan, async () => {
          await cluster.apply(manifest);
          await pause((random() * MOMENT_MAX_MS) / 2);
          const agent = await killAndHold(cluster, 'cni/node1');
          await pause(random() * MOMENT_MAX_MS);
          await agent.release();
          const pod = await cluster.readyPod(name);
          t.is(pod.metadata.annotations?.['ambient.istio.io/redirection'], 'enabled');
          const status = async () => (await cluster.exec(name, 'curl', '-s', '-m', '5', DETAILS_FROM_SHOP)).code;
          await eventually(
            'the pod may call',
            async () => ((await status()) === 0 ? true : undefined),
            RETURN_LIMIT_MS,
          );
        }),
      );
      t.deepEqual(openedInClear(seen), [], `round ${round}`);
      t.true(seen.hbone.size > 0, 'control: the capture sees the load');
      await cluster.remove(manifest);
      await eventually('the pod is gone', async () =>
        (await cluster.pods()).some(({ metadata }) => metadata.name === name) ? undefined : true,
      );
    }
  },
);

test.serial('control: a pod outside of the mesh that calls as eagerly is seen in clear', async (t) => {
  const { cluster, stage } = t.context;
  const plain = eager('eager-plain', 'app: eager');
  await cluster.apply(plain);
  await cluster.readyPod('eager-plain');
  await eventually('clear text', async () => {
    return openedInClear(readLink(await stage.capture(500))).length > 0 ? true : undefined;
  });
  await cluster.remove(plain);
  t.pass();
});

test.serial('a controller killed in a burst of edits: no call is lost, and the last edit is in force', async (t) => {
  t.timeout(300_000);
  const { stage } = t.context;
  const random = randomOf(t);
  await enrol(stage);
  await eventually('calls go through', () => answers(t, 'ratings'), RETURN_LIMIT_MS);
  for (let round = 0; round < ROUNDS; round++) {
    await loadGoesOn(stage);
    const before = await stage.load();
    const burst = (async () => {
      for (let edit = 0; edit < 10; edit++) {
        await stage.apply('deny-ratings.yaml');
        await pause(20);
        await stage.remove('deny-ratings.yaml');
        await pause(20);
      }
      await stage.apply('deny-ratings.yaml');
    })();
    await killSoon(t.context, 'controller', random() * MOMENT_MAX_MS);
    await burst;
    await eventually(
      'refused',
      async () => ((await stage.statusOf('ratings', DETAILS)) === 0 ? true : undefined),
      RETURN_LIMIT_MS,
    );
    await stage.remove('deny-ratings.yaml');
    await eventually('allowed', () => answers(t, 'ratings'), RETURN_LIMIT_MS);
    await loadGoesOn(stage);
    t.deepEqual(lossesSince(before, await stage.load()), [], `round ${round}`);
  }
});

test.serial('after all of it the cluster goes down and leaves nothing', async (t) => {
  const { cluster } = t.context;
  t.true((await cluster.remains()).length > 10, 'control: a running cluster is seen');
  await cluster.down();
  t.deepEqual(await cluster.remains(), []);
});

async function answers({ context }: ExecutionContext<MeshFixture>, app: string): Promise<true | undefined> {
  return (await context.stage.statusOf(app, DETAILS)) === 200 ? true : undefined;
}

/**
 * The mesh on two nodes, judged by captures on the link and by the applications: the acts of the demo, each with the
 * control in which its claim must not hold.
 */
import anyTest, { type TestFn } from 'ava';
import { actInClear, type Narrator, unharmed } from '../../src/cli/demo-acts.ts';
import { type LinkEvidence, readLink, without } from '../../src/cli/demo-evidence.ts';
import type { Stage } from '../../src/cli/demo-stage.ts';
import { MeshError } from '../../src/core/errors.ts';
import { eventually } from './cluster-fixture.ts';
import { enrol, type MeshFixture, startShop } from './mesh-fixture.ts';

const test = anyTest as TestFn<MeshFixture>;
const DETAILS = 'http://details:9080/details/0';
const CAPTURE_MS = 700;

test.before(async (t) => {
  t.timeout(120_000);
  t.context = await startShop();
});
test.after.always(async (t) => {
  await t.context.cluster?.[Symbol.asyncDispose]();
});

async function link(stage: Stage): Promise<LinkEvidence> {
  return readLink(await stage.capture(CAPTURE_MS));
}

test.serial('control: with capture off the link shows requests and entries in clear', async (t) => {
  const seen = await link(t.context.stage);
  t.true(seen.clear.size > 0);
  t.is(seen.hbone.size, 0);
});

test.serial('control: outside the mesh a policy does not refuse', async (t) => {
  const { stage } = t.context;
  await stage.apply('deny-ratings.yaml');
  for (let i = 0; i < 5; i++) t.is(await stage.statusOf('ratings', DETAILS), 200);
  await stage.remove('deny-ratings.yaml');
});

test.serial(
  'labelled, running pods join without a lost request or connection, and new connections are TLS to 15008',
  async (t) => {
    const { stage } = t.context;
    const before = (await link(stage)).other;
    await enrol(stage);
    const seen = await eventually('every new connection is tunnelled', async () => {
      const now = await link(stage);
      return now.hbone.size > 0 && without(now.other, before).length === 0 ? now : undefined;
    });
    t.is(seen.notTls.size, 0);
    t.deepEqual(without(seen.clear, before), []);
    await t.notThrowsAsync(unharmed(stage));
  },
);

test.serial('control: what the demo claims of plain traffic is not true in the mesh', async (t) => {
  const silent: Narrator = {
    act() {},
    async doing(_text, work) {
      await work();
    },
  };
  const act = actInClear(t.context.stage, silent, { before: new Set() });
  const error = await t.throwsAsync(act, { instanceOf: MeshError });
  t.is(error?.code, 'ERR_CLAIM');
});

test.serial('every pair of pods can talk, on one node and across', async (t) => {
  const { stage } = t.context;
  for (const from of ['shopper', 'productpage', 'details', 'reviews', 'ratings']) {
    for (const to of [
      'productpage:9080/',
      'details:9080/details/0',
      'reviews:9080/reviews/0',
      'ratings:9080/ratings/0',
    ]) {
      t.is(await stage.statusOf(from, `http://${to}`), 200, `${from} to ${to}`);
    }
  }
});

test.serial(
  'a policy refuses its caller alone, by name in the log; control: lifted, the call goes through',
  async (t) => {
    const { stage } = t.context;
    t.is(await stage.statusOf('ratings', DETAILS), 200);
    await stage.apply('deny-ratings.yaml');
    await eventually('refused', async () => ((await stage.statusOf('ratings', DETAILS)) === 0 ? true : undefined));
    t.is(await stage.statusOf('shopper', DETAILS), 200);
    const node = stage.getNode(await stage.getPod('details'));
    t.regex(await stage.tunnelLog(node), /bookinfo\/deny-ratings/);
    await stage.remove('deny-ratings.yaml');
    await eventually('allowed', async () => ((await stage.statusOf('ratings', DETAILS)) === 200 ? true : undefined));
  },
);

test.serial(
  'under STRICT clear callers are refused and old clear connections are cut, kubelet probes go on',
  async (t) => {
    const { stage, cluster } = t.context;
    t.is((await stage.load()).ledger.connections, 1, 'the connection of before the mesh is still open');
    await cluster.apply(`
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: bookinfo}
spec: {mtls: {mode: STRICT}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: outsider, namespace: shop}
spec: {containers: [{name: web, command: [node, web-server.mjs], readinessProbe: {tcpSocket: {port: 8080}}}]}
`);
    await cluster.readyPod('pod/outsider');
    const call = async (): Promise<number> => {
      const url = 'http://details.bookinfo:9080/details/0';
      const { stdout } = await cluster.exec(
        'pod/outsider',
        'curl',
        '-s',
        '-o',
        '/dev/null',
        '-w',
        '%{http_code}',
        '-m',
        '3',
        url,
      );
      return Number(stdout);
    };
    await eventually('the outsider is refused', async () => ((await call()) === 0 ? true : undefined));
    t.is(await stage.statusOf('shopper', DETAILS), 200);
    await eventually('the old connection was cut and made anew', async () =>
      (await stage.load()).ledger.connections === 2 ? true : undefined,
    );
    const pods = await stage.pods();
    t.true(pods.every((pod) => pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True')));
    await cluster.remove(
      'apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: bookinfo}\n',
    );
    await eventually('control: without STRICT the outsider may call', async () =>
      (await call()) === 200 ? true : undefined,
    );
  },
);

test.serial('with the label gone traffic is in clear again, and no request was lost in all of this', async (t) => {
  const { stage } = t.context;
  await stage.label('istio.io/dataplane-mode', undefined);
  await stage.redirection(undefined);
  const seen = await link(stage);
  t.true([...seen.opened].some((key) => seen.clear.has(key)));
  t.false([...seen.opened].some((key) => seen.hbone.has(key)));
  const { kept, fresh, failures } = await stage.load();
  t.is(kept.failed + fresh.failed, 0, failures.join());
});

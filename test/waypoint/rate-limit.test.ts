/** Rate limits at a waypoint, with the book shop: counted from the answers that clients get. */
import anyTest, { type TestFn } from 'ava';
import { SHOP } from '../../src/cli/demo-stage.ts';
import { type KubeObject, removeObjects, storeObjects } from '../../src/local/index.ts';
import { eventually } from '../local/cluster-fixture.ts';
import { startWaypointShop, type WaypointFixture } from './waypoint-fixture.ts';

const test = anyTest as TestFn<WaypointFixture>;
const REVIEWS = 'http://reviews:9080/reviews/0';
test.before(async (t) => {
  t.timeout(240_000);
  t.context = await startWaypointShop();
  await t.context.apply('waypoint.yaml');
  await eventually('the waypoint is ready', async () => (await t.context.replicas()).length === 1 || undefined, 60_000);
  await t.context.bind();
});
test.after.always(async (t) => {
  await t.context?.[Symbol.asyncDispose]?.();
});

async function statuses({ stage }: WaypointFixture, count: number, user: string): Promise<readonly string[]> {
  const urls = Array.from({ length: count }, () => REVIEWS);
  const { stdout } = await stage.exec(
    'productpage',
    'curl',
    '-s',
    '-m',
    '20',
    '-w',
    '\n#%{http_code}\n',
    '-H',
    `x-user: ${user}`,
    ...urls,
  );
  return [...stdout.matchAll(/^#(\d+)$/gm)].map(([, status]) => status ?? '');
}
const limit = {
  apiVersion: 'culvert.dev/v1alpha1',
  kind: 'RateLimitPolicy',
  metadata: { name: 'per-user', namespace: SHOP },
  spec: {
    targetRefs: [{ group: '', kind: 'Service', name: 'reviews' }],
    limits: [{ keys: [{ type: 'Header', name: 'x-user' }], local: { requests: 1, interval: '1h', burst: 5 } }],
  },
} as KubeObject;

test.serial('control: without a policy nothing is limited', async (t) => {
  t.is((await statuses(t.context, 20, 'ann')).filter((one) => one === '429').length, 0);
});

test.serial(
  'a local limit counts for each value of its key, over all workers, and tells when to come again',
  async (t) => {
    const { context } = t;
    const { resourceDir } = context.cluster.plan;
    await storeObjects(resourceDir, [limit]);
    await eventually('the limit is in force', async () =>
      (await statuses(context, 8, 'probe')).includes('429') ? true : undefined,
    );
    const seen = (await statuses(context, 12, 'bob')).filter((one) => one === '200').length;
    t.is(seen, 5, 'the burst and no more');
    t.true((await statuses(context, 1, 'eve')).includes('200'), 'another user has a budget of their own');
    const { stdout } = await context.stage.exec('productpage', 'curl', '-si', '-m', '5', '-H', 'x-user: bob', REVIEWS);
    t.regex(stdout, /^HTTP\/1.1 429/);
    for (const name of [
      'x-ratelimit-limit: 5',
      'x-ratelimit-remaining: 0',
      'retry-after: \\d+',
      'x-envoy-ratelimited: true',
    ]) {
      t.regex(stdout, new RegExp(`^${name}\\r?$`, 'm'));
    }
    await removeObjects(resourceDir, [limit]);
    await eventually('the limit is gone', async () =>
      (await statuses(context, 8, 'probe')).includes('429') ? undefined : true,
    );
  },
);

/**
 * A waypoint under load: added, told routes, restarted, removed, all while the shop's customers go on. The shop's own
 * counts judge; nothing may be lost.
 */
import anyTest, { type TestFn } from 'ava';
import { SHOP } from '../../src/cli/demo-stage.ts';
import { eventually } from '../local/cluster-fixture.ts';
import { loadGoesOn } from '../local/mesh-fixture.ts';
import { annotateTemplate } from './rolling-restart.ts';
import { passesWaypoint, startWaypointShop, type WaypointFixture } from './waypoint-fixture.ts';

const test = anyTest as TestFn<WaypointFixture>;
const REVIEWS = 'http://reviews:9080/reviews/0';

test.before(async (t) => {
  t.timeout(180_000);
  t.context = await startWaypointShop();
});
test.after.always(async (t) => {
  await t.context?.[Symbol.asyncDispose]?.();
});

/** Versions of `reviews` that answered, by count. */
async function versions({ stage }: WaypointFixture, count: number, ...headers: string[]): Promise<Map<string, number>> {
  const seen = new Map<string, number>();
  const flags = headers.flatMap((header) => ['-H', header]);
  const urls = Array.from({ length: count }, () => REVIEWS);
  const { stdout } = await stage.exec('productpage', 'curl', '-s', '-m', '30', ...flags, ...urls);
  for (const [, version] of stdout.matchAll(/"version":"(v\d)"/g)) {
    seen.set(version ?? '', (seen.get(version ?? '') ?? 0) + 1);
  }
  return seen;
}

test.serial('control: without a waypoint nobody answers in its name, and a route has no effect', async (t) => {
  const { context } = t;
  await context.apply('versions.yaml');
  await context.apply('canary.yaml');
  t.false(await passesWaypoint(context.stage));
  const seen = await versions(context, 30, 'connection: close');
  t.true((seen.get('v2') ?? 0) > 0, 'the service as it is has three versions');
  await context.remove('canary.yaml');
});

test.serial('a waypoint is added live: nothing is lost, and requests pass it', async (t) => {
  const { context } = t;
  await context.withoutLoss(async () => {
    await context.apply('waypoint.yaml');
    await eventually('the waypoint is ready', async () => ((await context.replicas()).length === 1 ? true : undefined));
    t.false(await passesWaypoint(context.stage), 'nothing asks for it yet');
    await context.bind();
    await loadGoesOn(context.stage);
  });
  t.true((await context.metric('istio_requests_total', { response_code: '200' })) > 0);
  t.is(await context.metric('istio_requests_total', { response_code: '503' }), 0);
});

test.serial('a route shares requests 90 to 10, and sends by header', async (t) => {
  const { context } = t;
  await context.withoutLoss(async () => {
    await context.apply('canary.yaml');
    await eventually('the route is in force', async () => {
      const seen = await versions(context, 20);
      return seen.has('v2') ? undefined : true;
    });
  });
  const seen = await versions(context, 300);
  const canary = seen.get('v3') ?? 0;
  t.is((seen.get('v1') ?? 0) + canary, 300);
  // six standard deviations around 30
  t.true(canary > 0 && canary < 62, `${canary} of 300 went to the canary`);
  const chosen = await versions(context, 20, 'x-canary: always');
  t.is(chosen.get('v3'), 20);
});

test.serial('a rolling restart of the waypoint loses nothing', async (t) => {
  const { context } = t;
  const [before] = await context.replicas();
  await context.withoutLoss(async () => {
    await annotateTemplate(context.cluster.plan.resourceDir, { namespace: SHOP, name: 'waypoint' });
    await eventually(
      'another replica serves alone',
      async () => {
        const all = (await context.stage.pods()).filter(({ metadata }) => metadata.name.startsWith('waypoint-'));
        return all.length === 1 && all[0]?.metadata.name !== before?.metadata.name ? true : undefined;
      },
      60_000,
    );
    await loadGoesOn(context.stage);
  });
  t.true(await passesWaypoint(context.stage));
});

test.serial('a rolling restart of a destination loses nothing', async (t) => {
  const { context } = t;
  await context.withoutLoss(async () => {
    await annotateTemplate(context.cluster.plan.resourceDir, { namespace: SHOP, name: 'details-v1' });
    await eventually(
      'new pods serve',
      async () => {
        const all = (await context.stage.pods()).filter(({ metadata }) => metadata.name.startsWith('details-v1-'));
        return all.length === 1 && all[0]?.metadata.annotations?.['test/restarted'] !== undefined ? true : undefined;
      },
      60_000,
    );
    await loadGoesOn(context.stage);
  });
  t.true(await passesWaypoint(context.stage));
});

test.serial('a waypoint is removed live: nothing is lost, and requests go the direct way', async (t) => {
  const { context } = t;
  await context.withoutLoss(async () => {
    await context.unbind();
    await loadGoesOn(context.stage);
    await context.remove('waypoint.yaml');
    await eventually(
      'the waypoint is gone',
      async () => {
        const pods = await context.stage.pods();
        return pods.some(({ metadata }) => metadata.name.startsWith('waypoint-')) ? undefined : true;
      },
      60_000,
    );
    await loadGoesOn(context.stage);
  });
  t.false(await passesWaypoint(context.stage));
});

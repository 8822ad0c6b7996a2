/** CUSTOM policies at a waypoint: the book shop's own services judge as authorization services, judged by the answers. */
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

const service = `details.${SHOP}.svc.cluster.local`;
/** `details` knows every path under its own prefix, and answers 404 to others: an allowing and a refusing provider. */
const mesh = {
  apiVersion: 'install.istio.io/v1alpha1',
  kind: 'IstioOperator',
  metadata: { name: 'providers', namespace: 'istio-system' },
  spec: {
    meshConfig: {
      extensionProviders: [
        { name: 'allowing', envoyExtAuthzHttp: { service, port: 9080, pathPrefix: '/details' } },
        { name: 'refusing', envoyExtAuthzHttp: { service, port: 9080 } },
      ],
    },
  },
} as KubeObject;

const policy = (provider: string): KubeObject =>
  ({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'ask', namespace: SHOP },
    spec: {
      targetRefs: [{ group: '', kind: 'Service', name: 'reviews' }],
      action: 'CUSTOM',
      provider: { name: provider },
      rules: [{ to: [{ operation: { paths: ['/reviews/*'] } }] }],
    },
  }) as KubeObject;

async function answers({ stage }: WaypointFixture, expected: number): Promise<void> {
  await eventually(`reviews answers ${expected}`, async () => {
    const { stdout } = await stage.exec(
      'productpage',
      'curl',
      '-s',
      '-m',
      '5',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      REVIEWS,
    );
    return Number(stdout) === expected ? true : undefined;
  });
}

test.serial('control: without a policy nobody is asked', async (t) => {
  await t.notThrowsAsync(answers(t.context, 200));
});

test.serial('a provider decides; one that nobody knows denies', async (t) => {
  const { context } = t;
  const { resourceDir } = context.cluster.plan;
  await storeObjects(resourceDir, [mesh, policy('unknown')]);
  await answers(context, 403);
  await storeObjects(resourceDir, [policy('allowing')]);
  await answers(context, 200);
  await storeObjects(resourceDir, [policy('refusing')]);
  await answers(context, 404);
  await removeObjects(resourceDir, [policy('refusing')]);
  await t.notThrowsAsync(answers(context, 200));
});

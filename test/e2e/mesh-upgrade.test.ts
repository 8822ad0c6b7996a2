import test from 'ava';
import { culvert } from './cluster/culvert.ts';
import { openScene, until } from './cluster/scene.ts';

test('an upgrade that rolls every program of the mesh costs no connection', async (t) => {
  t.timeout(10 * 60_000);
  const scene = await openScene(t);
  const namespace = await scene.namespace('shop');
  const outside = await scene.namespace('outside', { ambient: false });
  const [here, there] = scene.nodes;
  const [client, far, plain] = await scene.pods(
    { namespace, name: 'client', node: here },
    { namespace, name: 'far', node: there },
    { namespace: outside, name: 'plain', node: there },
  );
  await until(async () => (await client?.call('http://far')) !== undefined, 'calls');
  const urls = ['http://far', `http://${far?.ip}:8080`, `http://${plain?.ip}:8080`];
  const loads = await Promise.all(urls.map(async (url) => await client?.load(url, url, { timeoutMs: 30_000 })));
  const held = await client?.hold('held', 'far', { port: 90, count: 20 });
  const stamp = `e2e-${Date.now()}`;
  const rolled = ['pilot', 'cni', 'ztunnel'].flatMap((part) => [
    '--set',
    `${part}.podAnnotations.e2e-upgrade=${stamp}`,
  ]);
  const image = [
    ...(process.env.E2E_HUB ? ['--hub', process.env.E2E_HUB] : []),
    ...(process.env.E2E_TAG ? ['--tag', process.env.E2E_TAG] : []),
  ];
  await culvert('upgrade', ...image, ...rolled);
  const pods = await scene.cluster.pods('istio-system');
  const news = pods.filter(({ metadata }) => metadata.annotations?.['e2e-upgrade'] === stamp);
  t.true(news.length >= 3, 'control: every program was replaced');
  for (const [index, load] of loads.entries()) {
    const { sent, answered, failures = [] } = (await load?.stop()) ?? {};
    t.log(`${urls[index]}: ${answered} of ${sent} answered`);
    t.deepEqual(failures.slice(0, 5), []);
    t.is(answered, sent);
  }
  const { open, corrupted, exchanged } = (await held?.stop()) ?? {};
  t.log(`${open} of 20 held connections outlived the upgrade, ${exchanged} exchanges`);
  t.is(corrupted, 0);
});

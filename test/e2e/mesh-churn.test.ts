import test from 'ava';
import { AppPod, accountOf, appPod, serviceOf, visitorSpec } from './cluster/app-pods.ts';
import { type Kubernetes, manifest, SLOW_MS } from './cluster/kubernetes.ts';
import { restart } from './cluster/rollout.ts';
import { isEnrolled, openScene, type Scene, until } from './cluster/scene.ts';
import { parseSamples, SYSTEM, scrape } from './cluster/tunnels.ts';

const PODS = Number(process.env.E2E_CHURN_PODS || 200);
const AT_ONCE = 40;
const PROBE_SOURCES = ['169.254.7.127', 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff'];
/** Whoever opens a connection to the canary otherwise than by HBONE; a kubelet's probe has an address of its own. */
const CLEAR_ARRIVAL = ['tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn', 'ip6[53] & 0x12 == 0x02']
  .map((syn, index) => `(${index === 0 ? 'ip' : 'ip6'} and tcp and ${syn})`)
  .join(' or ');
const FILTER = `(${CLEAR_ARRIVAL}) and not dst port 15008 ${PROBE_SOURCES.map((ip) => `and not host ${ip}`).join(' ')}`;

/** A pod of the mesh that records every connection that reaches it in clear. */
async function openCanary(scene: Scene, namespace: string): Promise<AppPod> {
  const securityContext = { runAsUser: 0, capabilities: { add: ['NET_RAW'] } };
  const [canary] = await scene.pods({ namespace, name: 'canary', container: { securityContext } });
  if (!canary) throw new Error('no canary');
  return canary;
}

/** Arrivals from outside of the canary's own pod while `during` runs. */
async function clearArrivals(canary: AppPod, during: () => Promise<void>): Promise<readonly string[]> {
  const capture = await canary.capture('arrivals', FILTER);
  await during();
  const packets = await capture.stop();
  return packets
    .filter(({ destinationIp }) => canary.ips.includes(destinationIp))
    .map(({ sourceIp, destinationPort }) => `${sourceIp} to port ${destinationPort}`);
}

function visitor(namespace: string, name: string, node?: string) {
  const metadata = { namespace, name, labels: { app: 'visitor' } };
  return manifest('v1', 'Pod', metadata, { spec: visitorSpec('http://canary:80', { account: 'visitor', node }) });
}

async function waitVisited(cluster: Kubernetes, namespace: string, count: number): Promise<void> {
  await until(
    async () => {
      const pods = await cluster.pods(namespace, 'app=visitor');
      const failed = pods.filter(({ status }) => status.phase === 'Failed');
      if (failed.length > 0) throw new Error(`${failed[0]?.metadata.name} was not answered`);
      return pods.filter(({ status }) => status.phase === 'Succeeded').length === count;
    },
    `${count} visitors were answered`,
    6 * SLOW_MS,
  );
}

async function removeVisitors(cluster: Kubernetes, namespace: string): Promise<void> {
  for (const { metadata } of await cluster.pods(namespace, 'app=visitor')) {
    await cluster.delete(manifest('v1', 'Pod', { namespace, name: metadata.name }), 0);
  }
  await until(async () => (await cluster.pods(namespace, 'app=visitor')).length === 0, 'visitors are gone', SLOW_MS);
}

/** Cumulative counts of the time that ADD took, by upper bound in seconds, of all agents. */
async function addTimes(cluster: Kubernetes): Promise<ReadonlyMap<number, number>> {
  const buckets = new Map<number, number>();
  for (const { metadata } of await cluster.pods(SYSTEM, 'k8s-app=istio-cni-node')) {
    for (const { name, labels, value } of parseSamples(await scrape(cluster, metadata.name, 15_014))) {
      if (name !== 'culvert_cni_add_duration_seconds_bucket') continue;
      const bound = labels.le === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels.le);
      buckets.set(bound, (buckets.get(bound) ?? 0) + value);
    }
  }
  return buckets;
}

/** The bound below which 99 of 100 lie, between two readings. */
function percentile99(before: ReadonlyMap<number, number>, after: ReadonlyMap<number, number>): number {
  const count = (bound: number): number => (after.get(bound) ?? 0) - (before.get(bound) ?? 0);
  const all = count(Number.POSITIVE_INFINITY);
  return [...after.keys()].sort((a, b) => a - b).find((bound) => count(bound) >= 0.99 * all) ?? Number.NaN;
}

test('pods come and go in churn: every first packet is captured', async (t) => {
  t.timeout(20 * 60_000);
  const scene = await openScene(t);
  const { cluster } = scene;
  const namespace = await scene.namespace('churn');
  const canary = await openCanary(scene, namespace);
  await cluster.apply(accountOf(namespace, 'visitor'));
  const before = await addTimes(cluster);
  const arrivals = await clearArrivals(canary, async () => {
    for (let made = 0; made < PODS; made += AT_ONCE) {
      const startMs = performance.now();
      await cluster.apply(...Array.from({ length: AT_ONCE }, (_, i) => visitor(namespace, `visitor-${made + i}`)));
      await waitVisited(cluster, namespace, AT_ONCE);
      t.log(`${AT_ONCE} pods made at once, started and answered in ${Math.round(performance.now() - startMs)} ms`);
      await removeVisitors(cluster, namespace);
    }
  });
  t.deepEqual(arrivals, []);
  const p99 = percentile99(before, await addTimes(cluster));
  t.log(`CNI ADD p99 at most ${p99 * 1_000} ms`);
  t.true(p99 > 0);
});

test('the agent is rolled while pods are made: they wait, and none starts uncaptured', async (t) => {
  t.timeout(10 * 60_000);
  const scene = await openScene(t);
  const { cluster } = scene;
  const namespace = await scene.namespace('rolled');
  const canary = await openCanary(scene, namespace);
  await cluster.apply(accountOf(namespace, 'visitor'));
  const arrivals = await clearArrivals(canary, async () => {
    let made = 0;
    let isRolled = false;
    const rolled = restart(cluster, { kind: 'DaemonSet', namespace: SYSTEM, name: 'istio-cni-node' }).then(() => {
      isRolled = true;
    });
    while (!isRolled && made < AT_ONCE) {
      await cluster.apply(visitor(namespace, `visitor-${made}`, scene.nodes[made % 2]));
      made += 1;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    await rolled;
    await waitVisited(cluster, namespace, made);
    t.log(`${made} pods made meanwhile`);
  });
  t.deepEqual(arrivals, []);
});

test('control: the canary records what comes from a pod outside of the mesh', async (t) => {
  const scene = await openScene(t);
  const { cluster } = scene;
  const namespace = await scene.namespace('seen');
  const canary = await openCanary(scene, namespace);
  const outside = await scene.namespace('outside', { ambient: false });
  await cluster.apply(accountOf(outside, 'visitor'));
  const spec = visitorSpec(`http://canary.${namespace}:80`, { account: 'visitor' });
  const arrivals = await clearArrivals(canary, async () => {
    await cluster.apply(manifest('v1', 'Pod', { namespace: outside, name: 'v', labels: { app: 'visitor' } }, { spec }));
    await waitVisited(cluster, outside, 1);
  });
  t.is(arrivals.length, 1);
});

test('an address that another pod had before belongs to the new one at once', async (t) => {
  t.timeout(15 * 60_000);
  const scene = await openScene(t);
  const { cluster } = scene;
  const namespace = await scene.namespace('reuse');
  const [here, there] = scene.nodes;
  const [server] = await scene.pods({ namespace, name: 'server', node: there });
  await cluster.apply(accountOf(namespace, 'first'), accountOf(namespace, 'second'), serviceOf(namespace, 'second'));
  const rules = [{ from: [{ source: { principals: [`cluster.local/ns/${namespace}/sa/first`] } }] }];
  const spec = { selector: { matchLabels: { app: 'server' } }, action: 'ALLOW', rules };
  await cluster.apply(
    manifest('security.istio.io/v1', 'AuthorizationPolicy', { namespace, name: 'first-only' }, { spec }),
    appPod({ namespace, name: 'first', node: here, account: 'first' }),
  );
  const first = await AppPod.open(cluster, namespace, 'first');
  const url = `http://${server?.ip}:8080`;
  await until(async () => (await first.call(url)) !== undefined, 'the first is let in');
  const { ips } = first;
  await first[Symbol.asyncDispose]();
  await cluster.delete(manifest('v1', 'Pod', { namespace, name: 'first' }), 0);
  // Addresses are given in turn: placeholders use up those in between.
  const pause = { name: 'pause', image: 'registry.k8s.io/pause:3.10', imagePullPolicy: 'IfNotPresent' };
  const placeholder = (name: string) => ({
    ...{ nodeSelector: { 'kubernetes.io/hostname': here }, terminationGracePeriodSeconds: 0, containers: [pause] },
    ...{ automountServiceAccountToken: false, serviceAccountName: name },
  });
  let reused = '';
  for (let made = 0; made < 320 && reused === ''; made += AT_ONCE) {
    const batch = Array.from({ length: AT_ONCE }, (_, i) => `placeholder-${made + i}`);
    for (const name of batch) {
      const metadata = { namespace, name, labels: { app: 'visitor' } };
      await cluster.apply(manifest('v1', 'Pod', metadata, { spec: placeholder('second') }));
    }
    let addresses: readonly string[] = [];
    await until(
      async () => {
        const pods = await cluster.pods(namespace, 'app=visitor');
        addresses = pods.flatMap(({ status }) => status.podIP ?? []);
        return addresses.length === batch.length;
      },
      'placeholders have addresses',
      3 * SLOW_MS,
    );
    await removeVisitors(cluster, namespace);
    // The turn is close to the address: the next that is made may have it.
    const turn = lastByte(addresses);
    const wanted = lastByte([ips[0] ?? '']);
    if (wanted > turn && wanted - turn <= AT_ONCE) {
      for (let index = 0; index < AT_ONCE && reused === ''; index++) {
        const name = `second-${made}-${index}`;
        await cluster.apply(appPod({ namespace, name, node: here, account: 'second' }));
        const second = await AppPod.open(cluster, namespace, name);
        if (ips.some((ip) => second.ips.includes(ip))) {
          reused = name;
          t.is(await second.call(url, 3_000), undefined, 'the second is not taken for the first');
          t.true(await isEnrolled(scene, namespace, name));
        }
        await second[Symbol.asyncDispose]();
        await cluster.delete(manifest('v1', 'Pod', { namespace, name }), 0);
      }
    }
  }
  t.not(reused, '', 'an address came back');
});

function lastByte(addresses: readonly string[]): number {
  return Math.max(...addresses.map((ip) => Number(ip.split('.')[3] ?? 0)));
}

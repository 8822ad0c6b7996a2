import test from 'ava';
import { serviceOf } from './cluster/app-pods.ts';
import { manifest } from './cluster/kubernetes.ts';
import { hboneFaults, LinkView } from './cluster/link-view.ts';
import { openScene, type Scene, until } from './cluster/scene.ts';
import { readCounts } from './cluster/tunnels.ts';

const OPENED = 'istio_tcp_connections_opened_total';
const HEADER = 'x-e2e-secret-text';

function principal(namespace: string, account: string): string {
  return `spiffe://cluster.local/ns/${namespace}/sa/${account}`;
}

/** Client on node 1; servers on both, with every kind of Service. */
async function openShop(scene: Scene, ambient: boolean) {
  const [here, there] = scene.nodes;
  const namespace = await scene.namespace('shop', { ambient });
  const ports = [{ name: 'http', port: 8_080 }];
  await scene.cluster.apply(
    serviceOf(namespace, 'far-headless', { selector: { app: 'far' }, clusterIP: 'None', ports }),
    serviceOf(namespace, 'far-nodeport', { selector: { app: 'far' }, type: 'NodePort', ports }),
  );
  const [client, near, far] = await scene.pods(
    { namespace, name: 'client', node: here },
    { namespace, name: 'near', node: here },
    { namespace, name: 'far', node: there },
  );
  if (!client || !near || !far) throw new Error('pods are missing');
  return { namespace, client, near, far };
}

test('traffic between pods on one node and on two is HBONE with both identities', async (t) => {
  const scene = await openScene(t);
  const { namespace, client, near, far } = await openShop(scene, true);
  await using link = await LinkView.open(scene, client.node);
  const ways: readonly (readonly [string, string, 'near' | 'far'])[] = [
    ...near.ips.map((ip) => [`pod IP ${ip}`, `http://${bracketed(ip)}:8080`, 'near'] as const),
    ...far.ips.map((ip) => [`pod IP ${ip}`, `http://${bracketed(ip)}:8080`, 'far'] as const),
    ['ClusterIP', 'http://near', 'near'],
    ['ClusterIP', `http://far.${namespace}.svc.cluster.local`, 'far'],
    ['ClusterIP, other port', 'http://far:81', 'far'],
    ['headless', 'http://far-headless:8080', 'far'],
  ];
  for (const [name, url, target] of ways) {
    const labels = {
      source_principal: principal(namespace, 'client'),
      destination_principal: principal(namespace, target),
      // on one node identities are verified, and nothing is encrypted
      connection_security_policy: target === 'near' || client.node === far.node ? 'none' : 'mutual_tls',
    };
    const count = async () => {
      const counts = await readCounts(scene.cluster);
      return [
        counts(OPENED, { ...labels, reporter: 'source' }),
        counts(OPENED, { ...labels, reporter: 'destination' }),
      ];
    };
    const before = await count();
    const packets = await link.capture(client.ips, far.ips, async () => {
      const answer = await client.call(`${url}/${HEADER}`);
      t.is(answer?.pod, target, `${name} to ${url}`);
      t.true(client.ips.includes(answer?.remote ?? ''), `${url}: the server sees the client's address`);
    });
    await until(
      async () => (await count()).every((value, index) => value === (before[index] ?? 0) + 1),
      `${url}: counted once by each tunnel`,
    );
    if (target === 'far' && client.node !== far.node)
      t.deepEqual(hboneFaults(packets, HEADER), [], `${name} to ${url}`);
  }
});

test('a NodePort answers from outside of the mesh and from inside', async (t) => {
  const scene = await openScene(t);
  const { namespace, client, far } = await openShop(scene, true);
  const service = await scene.cluster.get(manifest('v1', 'Service', { namespace, name: 'far-nodeport' }));
  const port = (service as unknown as { spec: { ports: { nodePort: number }[] } }).spec.ports[0]?.nodePort;
  const nodes = await scene.cluster.list('/api/v1/nodes');
  for (const node of nodes) {
    const addresses = (node as unknown as { status: { addresses: { type: string; address: string }[] } }).status
      .addresses;
    const ip = addresses.find(({ type }) => type === 'InternalIP')?.address ?? '';
    const answer = await client.call(`http://${bracketed(ip)}:${port}`);
    t.is(answer?.pod, far.pod.metadata.name, `from a pod by ${ip}`);
  }
});

test('control: without the label the same traffic is clear and counted by no tunnel', async (t) => {
  const scene = await openScene(t);
  const { namespace, client, far } = await openShop(scene, false);
  await using link = await LinkView.open(scene, client.node);
  const packets = await link.capture(client.ips, far.ips, async () => {
    t.is((await client.call(`http://far/${HEADER}`))?.pod, 'far');
  });
  const counts = await readCounts(scene.cluster);
  t.is(counts(OPENED, { source_principal: principal(namespace, 'client') }), 0);
  if (client.node !== far.node) t.is(hboneFaults(packets, HEADER).length, 3);
});

function bracketed(ip: string): string {
  return ip.includes(':') ? `[${ip}]` : ip;
}

import test from 'ava';
import { manifest } from './cluster/kubernetes.ts';
import { openScene, until } from './cluster/scene.ts';

test('names are answered by the tunnel, and a ServiceEntry gets an address and its traffic', async (t) => {
  const scene = await openScene(t);
  const [here, there] = scene.nodes;
  const namespace = await scene.namespace('shop');
  const outside = await scene.namespace('outside', { ambient: false });
  const [client, server, unmeshed] = await scene.pods(
    { namespace, name: 'client', node: here },
    { namespace, name: 'server', node: there },
    { namespace: outside, name: 'unmeshed', node: here },
  );
  if (!client || !server || !unmeshed) throw new Error('pods are missing');
  const host = `payments-${process.pid}.example.com`;
  const spec = {
    hosts: [host],
    ports: [{ number: 80, name: 'http', protocol: 'TCP', targetPort: 8_080 }],
    resolution: 'STATIC',
    location: 'MESH_INTERNAL',
    workloadSelector: { labels: { app: 'server' } },
  };
  const entry = manifest('networking.istio.io/v1', 'ServiceEntry', { namespace, name: 'payments' }, { spec });
  t.false(Array.isArray(await client.resolve(host)), 'control: without the ServiceEntry nobody knows the name');
  await scene.cluster.apply(entry);
  let addresses: Awaited<ReturnType<typeof client.resolve>> = [];
  await until(async () => {
    addresses = await client.resolve(host);
    return Array.isArray(addresses);
  }, 'the name is answered');
  const status = (await scene.cluster.get(entry)) as unknown as { status?: { addresses?: { value: string }[] } };
  const allocated = (status.status?.addresses ?? []).map(({ value }) => value);
  t.true(allocated.length > 0, 'the address is in the status');
  for (const address of addresses as readonly string[]) t.true(allocated.includes(address), address);
  await until(async () => (await client.call(`http://${host}`))?.pod === 'server', 'the address leads to the pod');
  t.false(Array.isArray(await unmeshed.resolve(host)), 'control: a pod outside of the mesh does not know the name');
  t.true(Array.isArray(await client.resolve(`server.${namespace}.svc.cluster.local`)), 'names of the cluster');
  t.true(Array.isArray(await client.resolve('kubernetes.default')), 'names of other namespaces, by search list');
  const absent = `absent.${namespace}.svc.cluster.local`;
  t.deepEqual(await client.resolve(absent), await unmeshed.resolve(absent), 'a name that nobody knows');
});

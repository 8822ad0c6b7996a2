/** A tunnel process that is told nothing unasked, and a discovery server that answers. */
import test from 'ava';
import { ADDRESS_TYPE, ResourceStore, serviceResource, workloadResource } from '../../src/xds/index.ts';
import { gatewayNamed, memberOf, service, vip, workload } from '../support/mesh-objects.ts';
import { call, eventually, serveEcho } from './apps.ts';
import { captureTraffic, type Namespace } from './fabric.ts';
import { TunnelProcess } from './tunnel-process.ts';

const VIP = { ip: '10.96.0.1', port: 80 };
const KEY = 'default/server.default.svc.cluster.local';
const ON_DEMAND = { XDS_ON_DEMAND: 'true', PROXY_CONFIG: 'proxyMetadata: { DNS_CAPTURE: "false" }' };

interface Scene extends AsyncDisposable {
  readonly tunnel: TunnelProcess;
  readonly store: ResourceStore;
  readonly client: Namespace;
  readonly server: Namespace;
  /** Hosts something that no tunnel serves. */
  readonly far: Namespace;
  /** Names of one kind that the tunnel knows. */
  known(kind: 'services' | 'workloads'): Promise<readonly string[]>;
}

/** Client and server are pods of the node. */
async function scene(env: Readonly<Record<string, string>> = ON_DEMAND): Promise<Scene> {
  const tunnel = await TunnelProcess.create();
  const [client, server, far] = [
    await tunnel.fabric.add(),
    await tunnel.fabric.add(),
    await tunnel.fabric.add(),
  ] as const;
  const store = await ResourceStore.create();
  const services = memberOf({ [KEY]: { 80: 8080 } });
  store.set(ADDRESS_TYPE, workloadResource(workload({ name: 'client', addresses: [client.ip4] })));
  store.set(ADDRESS_TYPE, workloadResource(workload({ name: 'server', addresses: [server.ip4], services })));
  store.commit();
  await tunnel.listenAsAgent();
  await tunnel.start(store, env);
  const agent = await tunnel.acceptTunnel();
  await agent.add('u1', 'client', client.netns);
  await agent.add('u2', 'server', server.netns);
  await agent.snapshotSent();
  for (const pod of [client, server]) await captureTraffic(pod);
  return {
    tunnel,
    store,
    client,
    server,
    far,
    async known(kind) {
      const dump = JSON.parse((await tunnel.request(15_000, '/config_dump'))?.body.toString() ?? '{}');
      return dump[kind].map(({ name }: { name: string }) => name).sort();
    },
    [Symbol.asyncDispose]: () => tunnel[Symbol.asyncDispose](),
  };
}

const serverService = service({ name: 'server', addresses: [vip(VIP.ip)] });

test('a service that the tunnel was not told of is asked for and reached', async (t) => {
  await using all = await scene();
  const { tunnel, store, client, server, known } = all;
  store.set(ADDRESS_TYPE, serviceResource(serverService));
  store.set(ADDRESS_TYPE, serviceResource(service({ name: 'other', addresses: [vip('10.96.0.2')] })));
  store.commit();
  t.deepEqual(await known('services'), []);
  t.deepEqual(await known('workloads'), ['client', 'server'], 'pods of the node come unasked');
  using echo = serveEcho(server.netns);
  t.is((await call(client.netns, VIP, 'hi')).toString(), 'hi');
  t.deepEqual(echo.peers, [client.ip4]);
  await eventually('log', () => tunnel.output.includes('dst.service="server.default.svc.cluster.local"'));
  t.deepEqual(await known('services'), ['server'], 'what nobody asked for has not come');
});

test('a service whose block of addresses covers the destination is asked for and reached', async (t) => {
  await using all = await scene();
  const { tunnel, store, client, server } = all;
  const range = { ip: '10.96.0.0', prefixLength: 24 };
  store.set(ADDRESS_TYPE, serviceResource({ ...serverService, addresses: [{ network: '', range }] }));
  store.commit();
  using echo = serveEcho(server.netns);
  t.is((await call(client.netns, VIP, 'hi')).toString(), 'hi');
  t.deepEqual(echo.peers, [client.ip4]);
  await eventually('log', () => tunnel.output.includes('dst.service="server.default.svc.cluster.local"'));
});

test('control: without that resource the call fails', async (t) => {
  await using all = await scene();
  using echo = serveEcho(all.server.netns);
  t.true(await refused(all.client));
  t.deepEqual(echo.peers, []);
});

test('control: told everything, the tunnel knows the service before it is called', async (t) => {
  await using all = await scene({});
  all.store.set(ADDRESS_TYPE, serviceResource(serverService));
  all.store.commit();
  await eventually('service', async () => (await all.known('services')).includes('server'));
  t.pass();
});

test('an address that the control plane does not know passes through, and is known when it comes', async (t) => {
  await using all = await scene();
  const { tunnel, store, client, far } = all;
  using _echo = serveEcho(far.netns);
  const to = { ip: far.ip4, port: 8080 };
  t.is((await call(client.netns, to, 'hi')).toString(), 'hi');
  const unknown = await eventually('log', () => lineOf(tunnel, `dst.addr=${far.ip4}:8080`));
  t.false(unknown.includes('dst.workload'));
  const remote = workload({ name: 'remote', addresses: [far.ip4], node: 'n2', tunnelProtocol: 'NONE' });
  store.set(ADDRESS_TYPE, workloadResource(remote));
  store.commit();
  t.is((await call(client.netns, to, 'hi')).toString(), 'hi');
  await eventually('log', () => lineOf(tunnel, `dst.addr=${far.ip4}:8080 dst.workload="remote"`));
});

test('a waypoint is asked for by its name; one that does not exist refuses', async (t) => {
  await using all = await scene();
  const { tunnel, store, client } = all;
  const waypoint = gatewayNamed('default', 'waypoint.default.svc.cluster.local');
  store.set(ADDRESS_TYPE, serviceResource({ ...serverService, waypoint }));
  store.commit();
  t.true(await refused(client));
  await eventually('log', () => lineOf(tunnel, 'error="unknown waypoint: '));
  store.set(ADDRESS_TYPE, serviceResource(service({ name: 'waypoint', ports: { 15008: 15008 } })));
  store.commit();
  t.true(await refused(client));
  await eventually('the waypoint came', async () => (await all.known('services')).includes('waypoint'));
});

/** Whether a call of the VIP ends without a byte, in order or by a reset. */
function refused({ netns }: Namespace): Promise<boolean> {
  return call(netns, VIP, 'hi').then(
    (answer) => answer.length === 0,
    () => true,
  );
}

function lineOf(tunnel: TunnelProcess, text: string): string | undefined {
  return tunnel.output.split('\n').find((line) => line.includes(text));
}

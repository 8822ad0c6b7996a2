/** The tunnel as the process that operators run: node agent, ports, signals. */
import { gunzipSync } from 'node:zlib';
import test from 'ava';
import { listenTcp } from 'culvert-netns';
import { call, connectApp, eventually, exchange, serveEcho } from './apps.ts';
import { captureTraffic, type Namespace } from './fabric.ts';
import { TunnelProcess, localWorkload as workload } from './tunnel-process.ts';

interface Scene extends AsyncDisposable {
  readonly tunnel: TunnelProcess;
  readonly client: Namespace;
  readonly server: Namespace;
}

async function scene(env: Readonly<Record<string, string>> = {}): Promise<Scene> {
  const tunnel = await TunnelProcess.create();
  const [client, server] = [await tunnel.fabric.add(), await tunnel.fabric.add()];
  await tunnel.listenAsAgent();
  await tunnel.start({ workloads: [workload('client', client), workload('server', server)] }, env);
  return { tunnel, client, server, [Symbol.asyncDispose]: () => tunnel[Symbol.asyncDispose]() };
}

const ADDON = new URL('../../native/engine/build/engine.node', import.meta.url).pathname;

/** As the metrics and the config dump say. */
async function engineOf(tunnel: TunnelProcess): Promise<string> {
  const metrics = await eventually('metrics', () => tunnel.request(15_020, '/metrics'));
  const [, name] = /culvert_engine_info\{engine="(\w+)"\} 1/.exec(metrics.body.toString()) ?? [];
  const dump = JSON.parse((await tunnel.request(15_000, '/config_dump'))?.body.toString() ?? '');
  return name === dump.version.engine ? dump.version.engine : `${name} and ${dump.version.engine}`;
}

const isReady = async (tunnel: TunnelProcess): Promise<boolean> =>
  (await tunnel.request(15_021, '/healthz/ready'))?.status === 200;

test('a tunnel serves the pods of the agent, says so on its ports and drains at SIGTERM', async (t) => {
  await using all = await scene({ TERMINATION_GRACE_PERIOD_SECONDS: '4' });
  const { tunnel, client, server } = all;
  const agent = await tunnel.acceptTunnel();
  const pending = await tunnel.request(15_021, '/healthz/ready');
  t.is(pending?.status, 500);
  t.is(pending?.body.toString(), 'not ready, pending: workload proxy manager\n');
  t.is(await agent.add('u1', 'client', client.netns), '');
  t.is(await agent.add('u2', 'server', server.netns), '');
  t.is(await agent.add('u2', 'server', server.netns), '');
  t.is(await agent.snapshotSent(), '');
  await eventually('ready', () => isReady(tunnel));
  await captureTraffic(client);
  await captureTraffic(server);
  using echo = serveEcho(server.netns);
  const to = { ip: server.ip4, port: 8080 };
  t.is((await call(client.netns, to, 'hi')).toString(), 'hi');
  t.deepEqual(echo.peers, [client.ip4]);
  await eventually('access log', () => tunnel.output.includes('dst.hbone_addr='));

  const dump = JSON.parse((await tunnel.request(15_000, '/config_dump'))?.body.toString() ?? '');
  t.like(dump.workloadState.u1, {
    state: 'Up',
    info: { name: 'client', namespace: 'default', serviceAccount: 'client' },
  });
  t.deepEqual(
    dump.certificates.map((c: { identity: string; state: string }) => [c.identity, c.state]),
    [
      ['spiffe://cluster.local/ns/default/sa/client', 'Available'],
      ['spiffe://cluster.local/ns/default/sa/server', 'Available'],
    ],
  );
  t.false(JSON.stringify(dump).includes('PRIVATE KEY'));
  const plain = await tunnel.request(15_020, '/metrics');
  t.regex(plain?.body.toString() ?? '', /workload_manager_active_proxy_count 2\n[\s\S]*# EOF\n$/);
  const zipped = await tunnel.request(15_020, '/stats/prometheus', 'GET', 'accept-encoding: gzip\r\n');
  t.regex(gunzipSync(zipped?.body ?? Buffer.alloc(0)).toString(), /istio_build\{component="ztunnel",tag="unknown"\} 1/);
  t.is(
    (await tunnel.request(15_000, '/logging?level=access=debug', 'POST'))?.body.toString(),
    'current log level is info,access=debug\n',
  );
  t.is((await tunnel.request(15_000, '/logging?level=loud', 'POST'))?.status, 400);
  t.is((await tunnel.request(15_000, '/quitquitquit'))?.status, 405);

  const open = await connectApp(client.netns, to);
  t.is(await exchange(open, 'before'), 'before');
  tunnel.kill('SIGTERM');
  await eventually('new connections are refused', () =>
    call(client.netns, to, 'x').then(
      (got) => got.length === 0,
      () => true,
    ),
  );
  t.is(await exchange(open, 'during'), 'during');
  open.destroy();
  t.is(await tunnel.exited(), 0);
});

test('a broken rule of the protocol is answered, and the tunnel comes back with its pods', async (t) => {
  await using all = await scene();
  const { tunnel, client, server } = all;
  await captureTraffic(client);
  await captureTraffic(server);
  using _echo = serveEcho(server.netns);
  const first = await tunnel.acceptTunnel();
  await first.add('u1', 'client', client.netns);
  await first.add('u2', 'server', server.netns);
  await first.snapshotSent();
  t.regex((await first.ask({ case: 'keep', value: { uid: 'u1' } })) ?? '', /protocol error: keep after the snapshot/);
  t.true(await first.ended());
  const second = await tunnel.acceptTunnel();
  t.is((await call(client.netns, { ip: server.ip4, port: 8080 }, 'hi')).toString(), 'hi');
  t.is(await second.ask({ case: 'keep', value: { uid: 'u1' } }), '');
  t.is(await second.ask({ case: 'keep', value: { uid: 'u2' } }), '');
  t.is(await second.snapshotSent(), '');
  await eventually('ready', () => isReady(tunnel));
  t.regex((await tunnel.request(15_020, '/metrics'))?.body.toString() ?? '', /culvert_zds_protocol_errors_total 1/);
  t.is(
    await second.ask({ case: 'del', value: { uid: 'u1' } }, client.netns),
    'failure to read message : del with 1 file descriptors, expected 0',
  );
  t.is(tunnel.exitCode, null);
});

test('while the agent is away pods are served; when it is back the tunnel returns to it', async (t) => {
  await using all = await scene();
  const { tunnel, client, server } = all;
  await captureTraffic(client);
  await captureTraffic(server);
  using _echo = serveEcho(server.netns);
  const first = await tunnel.acceptTunnel();
  await first.add('u1', 'client', client.netns);
  await first.add('u2', 'server', server.netns);
  await first.snapshotSent();
  await eventually('ready', () => isReady(tunnel));
  const open = await connectApp(client.netns, { ip: server.ip4, port: 8080 });
  t.is(await exchange(open, 'one'), 'one');
  await first.close();
  await tunnel.stopAgent();
  await eventually('not ready', async () => !(await isReady(tunnel)));
  t.is(await exchange(open, 'two'), 'two');
  t.is((await call(client.netns, { ip: server.ip4, port: 8080 }, 'three')).toString(), 'three');
  await tunnel.listenAsAgent();
  const second = await tunnel.acceptTunnel();
  t.is(await second.ask({ case: 'keep', value: { uid: 'u1' } }), '');
  t.is(await second.snapshotSent(), '');
  await eventually('ready', () => isReady(tunnel));
  const metrics = (await tunnel.request(15_020, '/metrics'))?.body.toString() ?? '';
  t.regex(metrics, /workload_manager_active_proxy_count 1\n/, 'u2 was not named again');
  open.destroy();
});

test('a pod whose port is taken is answered with the reason and started when it is free', async (t) => {
  await using all = await scene();
  const { tunnel, client } = all;
  const agent = await tunnel.acceptTunnel();
  const taken = listenTcp(client.netns, { ip: '::', port: 15_006 }, () => {});
  t.regex((await agent.add('u1', 'client', client.netns)) ?? '', /^failure to start proxy : .*EADDRINUSE/);
  t.is(await agent.snapshotSent(), '');
  t.false(await isReady(tunnel));
  taken[Symbol.dispose]();
  await eventually('ready after the retry', () => isReady(tunnel));
});

test('in dedicated mode the tunnel serves its own namespace without an agent', async (t) => {
  await using tunnel = await TunnelProcess.create();
  const peer = await tunnel.fabric.add();
  await captureTraffic(tunnel.node);
  await tunnel.start(
    { workloads: [workload('self', tunnel.node)] },
    { PROXY_MODE: 'dedicated', PROXY_WORKLOAD_INFO: 'default/self/self', PACKET_MARK: '1337' },
  );
  await eventually('ready', () => isReady(tunnel));
  using echo = serveEcho(tunnel.node.netns);
  t.is((await call(peer.netns, { ip: tunnel.node.ip4, port: 8080 }, 'in')).toString(), 'in');
  t.deepEqual(echo.peers, [peer.ip4]);
  using _far = serveEcho(peer.netns);
  t.is((await call(tunnel.node.netns, { ip: peer.ip4, port: 8080 }, 'out')).toString(), 'out');
  await eventually('both are logged', () =>
    ['inbound', 'outbound'].every((way) => tunnel.output.includes(`direction="${way}"`)),
  );
  tunnel.kill('SIGTERM');
  t.is(await tunnel.exited(), 0);
});

test('without its add-on the tunnel says so once and serves by the TypeScript engine', async (t) => {
  await using tunnel = await TunnelProcess.create();
  const [client, server] = [await tunnel.fabric.add(), await tunnel.fabric.add()];
  await tunnel.listenAsAgent();
  const state = { workloads: [workload('client', client), workload('server', server)] };
  await tunnel.start(state, { CULVERT_ENGINE: 'auto' }, `mount --bind /dev/null ${ADDON}`);
  const agent = await tunnel.acceptTunnel();
  t.is(await agent.add('u1', 'client', client.netns), '');
  t.is(await agent.add('u2', 'server', server.netns), '');
  t.is(await agent.snapshotSent(), '');
  await captureTraffic(client);
  await captureTraffic(server);
  using _echo = serveEcho(server.netns);
  t.is((await call(client.netns, { ip: server.ip4, port: 8080 }, 'hi')).toString(), 'hi');
  t.is(tunnel.output.match(/native engine unavailable/g)?.length, 1);
  t.is(await engineOf(tunnel), 'typescript');
});

test('with its add-on the tunnel serves by the native engine without being told; control of the fallback', async (t) => {
  await using all = await scene({ CULVERT_ENGINE: 'auto' });
  const agent = await all.tunnel.acceptTunnel();
  t.is(await agent.snapshotSent(), '');
  t.is(await engineOf(all.tunnel), 'native');
  t.notRegex(all.tunnel.output, /unavailable/);
});

test('POST to /quitquitquit ends the process', async (t) => {
  await using all = await scene();
  await all.tunnel.acceptTunnel();
  const answer = await eventually('admin answers', () => all.tunnel.request(15_000, '/quitquitquit', 'POST'));
  t.is(answer.body.toString(), 'shutdown now\n');
  t.is(await all.tunnel.exited(), 0);
});

test('bad configuration ends the process with every problem', async (t) => {
  await using all = await scene({ PROXY_MODE: 'odd', PACKET_MARK: 'x' });
  t.is(await all.tunnel.exited(), 1);
  t.regex(all.tunnel.output, /PROXY_MODE=odd: .*PACKET_MARK=x: /);
});

/** The agent as a process, the real plugin, and a pod's traffic as the judge of what they did. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { eventually } from '../support/eventually.ts';
import { AgentLab } from './agent-lab.ts';
import { IptablesRecord } from './iptables-record.ts';
import { echo, FAR, firstLine, NODE, open, POD, PROBE, removeLeftLabs, seenByTunnel } from './pod-lab.ts';

const APP_PORT = 8_080;
const AMBIENT = 'istio.io/dataplane-mode: ambient';
const CAPTURED = ['tunnel 15001', 'tunnel 15006'] as const;
const DIRECT = [`app ${POD[4]}`, `app ${NODE[4]}`] as const;
const REFUSED = ['refused', 'refused'] as const;

test.before(removeLeftLabs);

/** How a new connection of the pod, and one to it, end. */
async function paths({ lab }: AgentLab): Promise<readonly [outbound: string, inbound: string]> {
  const lines = [await firstLine(lab.netns, FAR[4], APP_PORT), await firstLine(lab.node, POD[4], APP_PORT)];
  const [outbound = '', inbound = ''] = lines.map((line) =>
    line.startsWith('{') ? `tunnel ${seenByTunnel(line).port}` : line,
  );
  return [outbound, inbound];
}

/** A node with servers in the pod and behind the node. */
async function node(backend?: string): Promise<AgentLab> {
  const agent = await AgentLab.create(backend);
  agent.lab.serve(agent.lab.node, APP_PORT);
  agent.lab.serve(agent.lab.netns, APP_PORT);
  return agent;
}

test.serial('a new pod starts captured; what was there before the tunnel fails closed', async (t) => {
  await using agent = await node();
  agent.namespace(true);
  agent.pod('Pending');
  await agent.startAgent();
  const early = await agent.cni('ADD');
  t.is(early.exit, 1);
  t.regex(early.stdout, /no tunnel is connected/);
  t.deepEqual(await paths(agent), REFUSED);
  await using tunnel = await agent.connectTunnel();
  await eventually(() => tunnel.requests.includes('snapshotSent'));
  const outcome = await agent.cni('ADD');
  t.is(outcome.exit, 0, outcome.stdout);
  t.deepEqual(await paths(agent), CAPTURED);
  await agent.annotated('enabled');
  t.is(agent.annotation('culvert.dev/redirect-backend'), 'nftables');
  t.true(tunnel.requests.includes(`add ${agent.lab.uid}`));
});

test.serial('a pod that is not selected starts as it is, one that is unknown does not', async (t) => {
  await using agent = await node();
  agent.pod('Pending');
  await agent.startAgent();
  t.is((await agent.cni('ADD')).exit, 0);
  t.deepEqual(await paths(agent), DIRECT);
  const unknown = await agent.cni('ADD', { name: 'nobody' });
  t.is(unknown.exit, 1);
  t.regex(unknown.stdout, /status 500[\s\S]*no pod shop\/nobody/);
});

test.serial('a namespace that is not the pod’s is refused', async (t) => {
  await using agent = await node();
  agent.namespace(true);
  agent.pod('Pending');
  await agent.startAgent();
  await using _tunnel = await agent.connectTunnel();
  for (const [netns, ip] of [
    [agent.lab.podPath, '10.99.0.77'],
    ['/nowhere', POD[4]],
  ] as const) {
    const outcome = await agent.cni('ADD', { netns, ip });
    t.is(outcome.exit, 1, netns);
    t.regex(outcome.stdout, /status 400/, netns);
  }
  t.deepEqual(await paths(agent), DIRECT);
});

test.serial('control: without an agent no pod starts but excluded ones, and every pod can be deleted', async (t) => {
  await using agent = await node();
  agent.namespace(true);
  agent.pod('Pending');
  t.is((await agent.cni('ADD')).exit, 1);
  t.is((await agent.cni('DEL')).exit, 0);
  t.is((await agent.cni('ADD', { namespace: 'kube-system' })).exit, 0);
  t.deepEqual(await paths(agent), DIRECT);
});

for (const backend of ['nftables', 'ebpf', 'iptables']) {
  test.serial(`${backend}: a running pod joins and leaves without losing a connection`, async (t) => {
    await using agent = await node(backend);
    const { lab } = agent;
    agent.pod('Running');
    await agent.runContainer();
    await agent.startAgent();
    await using tunnel = await agent.connectTunnel();
    const before = [await open(lab.netns, FAR[4], APP_PORT), await open(lab.node, POD[4], APP_PORT)];
    for (const { socket } of before) lab.track(socket);
    t.deepEqual(await paths(agent), DIRECT);

    agent.namespace(true);
    await agent.annotated('enabled');
    t.is(agent.annotation('culvert.dev/redirect-backend'), backend);
    const [outbound, inbound] = await paths(agent);
    t.is(inbound, CAPTURED[1]);
    // This process is in the cgroup of the tunnel, which eBPF does not capture.
    if (backend !== 'ebpf') t.is(outbound, CAPTURED[0]);
    for (const { socket } of before) t.is(await echo(socket, 'still here'), 'still here');
    t.regex(agent.log, /open in clear when the pod joined/);

    const captured = await open(lab.node, POD[4], APP_PORT);
    lab.track(captured.socket);
    agent.namespace(false);
    await eventually(() => tunnel.requests.includes(`del ${lab.uid}`), 'the deletion');
    await agent.annotated(undefined);
    t.deepEqual(await paths(agent), DIRECT);
    for (const { socket } of [...before, captured]) t.is(await echo(socket, 'and now'), 'and now');
  });
}

test.serial('a running pod waits in clear for a tunnel, and says so', async (t) => {
  await using agent = await node();
  agent.pod('Running', { labels: AMBIENT });
  await agent.runContainer();
  await agent.startAgent();
  await agent.annotated('pending');
  t.deepEqual(await paths(agent), DIRECT);
  await using _tunnel = await agent.connectTunnel();
  await agent.annotated('enabled');
  t.deepEqual(await paths(agent), CAPTURED);
});

test.serial('STRICT cuts what is open in clear to the pod, and only that', async (t) => {
  await using agent = await node();
  const { lab } = agent;
  agent.pod('Running', { labels: AMBIENT });
  await agent.runContainer();
  const [outbound, inbound] = [await open(lab.netns, FAR[4], APP_PORT), await open(lab.node, POD[4], APP_PORT)];
  for (const { socket } of [outbound, inbound]) lab.track(socket);
  await agent.startAgent();
  await using _tunnel = await agent.connectTunnel();
  await agent.annotated('enabled');
  t.is(await echo(inbound.socket, 'permissive'), 'permissive');
  agent.manifest(
    'strict',
    `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: shop}
spec: {mtls: {mode: STRICT}}
`,
  );
  await eventually(() => inbound.socket.destroyed, 'the end of the connection in clear');
  t.is(await echo(outbound.socket, 'goes on'), 'goes on');
  await eventually(
    () => /culvert_cni_clear_connections_cut_total 1\n/.test(agent.get(15_014, '/metrics')),
    'the count of cut connections',
  );
});

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  test.serial(`${signal}: pods stay captured while no agent runs, and the next one takes them over`, async (t) => {
    await using agent = await node();
    agent.pod('Running', { labels: AMBIENT });
    await agent.runContainer();
    await agent.startAgent();
    await using _tunnel = await agent.connectTunnel();
    await agent.annotated('enabled');
    const held = await open(agent.lab.node, POD[4], APP_PORT);
    agent.lab.track(held.socket);
    const code = await agent.endAgent(signal);
    if (signal === 'SIGTERM') t.is(code, 0);
    t.deepEqual(await paths(agent), CAPTURED);
    t.is(agent.annotation(), 'enabled');
    await agent.startAgent();
    await using next = await agent.connectTunnel();
    await eventually(() => next.requests.includes('snapshotSent'));
    t.deepEqual(next.requests.slice(0, 2), [`add ${agent.lab.uid}`, 'snapshotSent']);
    t.deepEqual(await paths(agent), CAPTURED);
    t.is(await echo(held.socket, 'through it all'), 'through it all');
  });
}

test.serial('a label taken away while no agent runs is noticed by the next one', async (t) => {
  await using agent = await node();
  agent.pod('Running', { labels: AMBIENT });
  await agent.runContainer();
  await agent.startAgent();
  await using _tunnel = await agent.connectTunnel();
  await agent.annotated('enabled');
  await agent.endAgent('SIGKILL');
  agent.pod('Running');
  await agent.startAgent();
  await using _next = await agent.connectTunnel();
  await agent.annotated(undefined);
  t.deepEqual(await paths(agent), DIRECT);
});

test.serial('a pod that ended is taken from the tunnel', async (t) => {
  await using agent = await node();
  agent.pod('Running', { labels: AMBIENT });
  await agent.runContainer();
  await agent.startAgent();
  await using tunnel = await agent.connectTunnel();
  await agent.annotated('enabled');
  agent.pod(undefined);
  await eventually(() => tunnel.requests.includes(`del ${agent.lab.uid}`), 'the deletion');
  t.is(tunnel.requests.at(-1), `del ${agent.lab.uid}`);
});

test.serial('rules that were flushed in a pod are put back', async (t) => {
  await using agent = await node();
  agent.pod('Running', { labels: AMBIENT });
  await agent.runContainer();
  await agent.startAgent();
  await using _tunnel = await agent.connectTunnel();
  await agent.annotated('enabled');
  agent.lab.exec('nft', 'flush', 'ruleset');
  await eventually(async () => (await paths(agent))[1] === CAPTURED[1], 'capture', 50_000);
  t.deepEqual(await paths(agent), CAPTURED);
});

test.serial('the annotation of a pod chooses its back-end', async (t) => {
  await using agent = await node('nftables');
  agent.pod('Running', { labels: AMBIENT, annotations: 'culvert.dev/redirect: iptables' });
  await agent.runContainer();
  await agent.startAgent();
  await using _tunnel = await agent.connectTunnel();
  await agent.annotated('enabled');
  t.is(agent.annotation('culvert.dev/redirect-backend'), 'iptables');
  t.deepEqual(await paths(agent), CAPTURED);
  t.regex(agent.lab.exec('iptables-nft-save', '-t', 'nat'), /ISTIO_OUTPUT.*15001/);
});

for (const backend of ['ebpf', 'iptables']) {
  const title = backend === 'ebpf' ? 'no iptables program is run' : 'control: the runs of iptables are seen';
  test.serial(`${backend}: ${title}`, async (t) => {
    await using agent = await node(backend);
    const record = new IptablesRecord(agent.path('iptables'));
    agent.pod('Running');
    await agent.runContainer();
    await agent.startAgent(record.prefix);
    await using _tunnel = await agent.connectTunnel();
    agent.namespace(true);
    await agent.annotated('enabled');
    t.is((await paths(agent))[1], CAPTURED[1]);
    agent.namespace(false);
    await agent.annotated(undefined);
    t.deepEqual(await paths(agent), DIRECT);
    t.is(await agent.endAgent('SIGTERM'), 0);
    if (backend === 'ebpf') t.deepEqual(record.runs, []);
    else t.regex(record.runs.join('\n'), /iptables-nft-restore/);
  });
}

for (const backend of ['nftables', 'iptables']) {
  test.serial(
    `${backend}: probes from the node pass, and its address is its own again when the pod has left`,
    async (t) => {
      await using agent = await node(backend);
      agent.agentNetns = agent.lab.node;
      agent.pod('Running', { labels: AMBIENT });
      await agent.runContainer();
      await agent.startAgent();
      await using _tunnel = await agent.connectTunnel();
      await agent.annotated('enabled');
      for (const family of [4, 6] as const)
        t.is(await firstLine(agent.lab.node, POD[family], APP_PORT), `app ${PROBE[family]}`);
      agent.pod('Running');
      await agent.annotated(undefined);
      const isDirect = async () => (await firstLine(agent.lab.node, POD[4], APP_PORT)) === DIRECT[1];
      await eventually(isDirect, 'the node’s own address at the application');
      t.pass();
    },
  );
}

test.serial('it installs the plugin, is ready, and counts', async (t) => {
  await using agent = await node();
  await agent.startAgent();
  await eventually(() => agent.get(8_000, '/readyz').endsWith('200'), 'readiness');
  t.true(existsSync(join(agent.path('bin'), 'istio-cni')));
  const { plugins } = JSON.parse(readFileSync(join(agent.path('net.d'), '10-net.conflist'), 'utf8'));
  t.deepEqual(
    plugins.map(({ type }: { type: string }) => type),
    ['ptp', 'istio-cni'],
  );
  await agent.cni('ADD', { name: 'nobody' });
  const metrics = agent.get(15_014, '/metrics');
  for (const line of [
    'istio_cni_install_ready 1',
    'istio_cni_installs_total{result="SUCCESS"} 1',
    'istio_cni_plugin_requests_total{response_code="500"} 1',
    'ztunnel_connected 0',
  ])
    t.true(metrics.includes(`${line}\n`), line);
});

/** The node agent with the real plugin and real namespaces. */
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import { connectTcp, listenTcp, Netns, SeqpacketSocket } from 'culvert-netns';
import { eventually } from '../support/eventually.ts';
import { AgentRig, type AgentRun, type PodPlace } from './agent-rig.ts';
import { AnsweringTunnel } from './answering-tunnel.ts';

const AMBIENT = { 'istio.io/dataplane-mode': 'ambient' };

function annotation({ source }: AgentRun, { namespace, name }: PodPlace): string | undefined {
  const pod = source.find({ group: '', kind: 'Pod' }, { namespace, name });
  return pod?.metadata.annotations?.['ambient.istio.io/redirection'];
}

async function connected(run: AgentRun, tunnels = 1): Promise<void> {
  await eventually(async () => (await run.metric(/^ztunnel_connected /)) === tunnels, 'the tunnel is connected');
}

test('ADD of a pod in the mesh: captured first, then the tunnel is told, then it is announced', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop', AMBIENT);
  const pod = rig.pod('cart');
  await using run = await rig.agent();
  const seen: string[] = [];
  await using tunnel = await AnsweringTunnel.connect(rig.zdsPath, async (request, netns) => {
    if (request.kind === 'add') seen.push(`${await rig.capture(pod)} ${netns?.id === id(pod)} ${annotation(run, pod)}`);
    return undefined;
  });
  await connected(run);
  const outcome = await rig.add(pod);
  t.is(outcome.exit, 0, outcome.stdout);
  t.like(outcome.json, { ips: [{ address: `${pod.ip}/24` }] });
  t.deepEqual(seen, ['capturing true undefined']);
  const add = tunnel.requests.find(({ kind }) => kind === 'add');
  t.like(add, { uid: pod.uid, info: { name: 'cart', namespace: 'shop', serviceAccount: 'default' } });
  await eventually(() => annotation(run, pod) === 'enabled');
  t.true((await rig.probed()).includes(`${pod.ip} comment "${pod.uid}"`));
  t.is(await run.metric(/plugin_requests_total\{response_code="200"\}/), 1);
});

test('control: without the plugin’s entry a pod of the mesh starts uncaptured', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop', AMBIENT);
  const pod = rig.pod('cart');
  await using _run = await rig.agent();
  const outcome = await rig.add(pod, { more: { ambient_enabled: false } });
  t.is(outcome.exit, 0);
  t.is(await rig.capture(pod), 'absent');
});

test('ADD of a pod outside of the mesh changes nothing', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop');
  const pod = rig.pod('cart');
  await using _run = await rig.agent();
  const outcome = await rig.add(pod);
  t.is(outcome.exit, 0, outcome.stdout);
  t.is(await rig.capture(pod), 'absent');
});

test('ADD while no tunnel is there fails, and nothing of the pod leaves in clear', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop', AMBIENT);
  const pod = rig.pod('cart');
  await using run = await rig.agent();
  const outcome = await rig.add(pod);
  t.is(outcome.exit, 1);
  t.regex(outcome.stdout, /no tunnel is connected/);
  t.is(await rig.capture(pod), 'capturing');
  t.not(annotation(run, pod), 'enabled');

  await using _tunnel = await AnsweringTunnel.connect(rig.zdsPath);
  await connected(run);
  t.is((await rig.add(pod)).exit, 0, 'the next try succeeds');
  await eventually(() => annotation(run, pod) === 'enabled');
});

test('a tunnel that refuses the pod fails the ADD with its reason', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop', AMBIENT);
  const pod = rig.pod('cart');
  await using run = await rig.agent();
  await using _tunnel = await AnsweringTunnel.connect(rig.zdsPath, async ({ kind }) =>
    kind === 'add' ? 'port 15006 is taken' : undefined,
  );
  await connected(run);
  const outcome = await rig.add(pod);
  t.is(outcome.exit, 1);
  t.regex(outcome.stdout, /port 15006 is taken/);
});

test('a pod that the API does not know is refused', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop', AMBIENT);
  const pod = rig.pod('cart', { known: false });
  await using _run = await rig.agent();
  const outcome = await rig.add(pod);
  t.is(outcome.exit, 1);
  t.regex(outcome.stdout, /no pod shop\/cart/);
});

test('a namespace without the pod’s address is refused and left alone', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop', AMBIENT);
  const [pod, other] = [rig.pod('cart'), rig.pod('other')];
  await using _run = await rig.agent();
  const outcome = await rig.add(pod, { netnsPath: other.netnsPath });
  t.is(outcome.exit, 1);
  t.regex(outcome.stdout, /none of the pod's addresses/);
  t.is(await rig.capture(other), 'absent');
});

test('requests that are none are refused, and the agent goes on', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop');
  const pod = rig.pod('cart');
  await using _run = await rig.agent();
  const socketPath = join(rig.runDir, 'pluginevent.sock');
  t.is(await post(socketPath, '/cmdadd', ''), 400);
  t.is(await post(socketPath, '/cmdadd', '{'), 400);
  t.is(await post(socketPath, '/cmdadd', '{"PodName":"x"}'), 400);
  t.is(await post(socketPath, '/other', '{}'), 404);
  t.is(await post(socketPath, '/cmdadd', 'x'.repeat(70_000)), 400);
  t.is((await rig.add(pod)).exit, 0);
});

test('a running pod joins after the tunnel listens, and leaves before the tunnel goes', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop');
  const pod = rig.pod('cart');
  rig.start(pod);
  await using run = await rig.agent();
  const seen: string[] = [];
  await using tunnel = await AnsweringTunnel.connect(rig.zdsPath, async ({ kind }) => {
    if (kind === 'add' || kind === 'del') seen.push(`${kind} ${await rig.capture(pod)} ${annotation(run, pod)}`);
    return undefined;
  });
  await connected(run);
  rig.namespace('shop', AMBIENT);
  await eventually(() => annotation(run, pod) === 'enabled', 'the pod is in the mesh');
  t.is(await rig.capture(pod), 'capturing');
  rig.namespace('shop');
  await eventually(() => tunnel.told('del', pod.uid), 'the tunnel lets go');
  await eventually(async () => (await rig.capture(pod)) === 'absent', 'the rules are gone');
  t.is(annotation(run, pod), undefined);
  t.is(seen[0], 'add absent undefined');
  t.is(seen.at(-1), 'del draining undefined');
  t.false((await rig.probed()).includes(pod.uid));
});

test('a running pod waits in clear while there is no tunnel, and joins when one comes', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop', AMBIENT);
  const pod = rig.pod('cart');
  rig.start(pod);
  await using run = await rig.agent();
  await eventually(() => annotation(run, pod) === 'pending');
  t.is(await rig.capture(pod), 'absent');
  await using _tunnel = await AnsweringTunnel.connect(rig.zdsPath);
  await eventually(() => annotation(run, pod) === 'enabled', 'the pod joins');
  t.is(await rig.capture(pod), 'capturing');
});

test('an agent that starts anew takes over what is captured; its snapshot names it', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop', AMBIENT);
  const pod = rig.pod('cart');
  rig.start(pod);
  {
    await using run = await rig.agent();
    await using _tunnel = await AnsweringTunnel.connect(rig.zdsPath);
    await eventually(() => annotation(run, pod) === 'enabled');
  }
  t.is(await rig.capture(pod), 'capturing', 'the end of the agent changes nothing');
  await using run = await rig.agent();
  await using tunnel = await AnsweringTunnel.connect(rig.zdsPath);
  await eventually(() => tunnel.told('snapshot-sent'));
  t.is(tunnel.requests[0]?.kind, 'add');
  t.true(tunnel.told('add', pod.uid));
  t.is(annotation(run, pod), 'enabled');
});

test('a pod that left the mesh while no agent ran is released', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop', AMBIENT);
  const pod = rig.pod('cart');
  rig.start(pod);
  {
    await using run = await rig.agent();
    await using _tunnel = await AnsweringTunnel.connect(rig.zdsPath);
    await eventually(() => annotation(run, pod) === 'enabled');
  }
  rig.namespace('shop');
  await using run = await rig.agent();
  await eventually(async () => (await rig.capture(pod)) === 'absent', 'the rules are gone');
  await eventually(() => annotation(run, pod) === undefined);
  t.pass();
});

test('a pod that ends is forgotten', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop', AMBIENT);
  const pod = rig.pod('cart');
  rig.start(pod);
  await using run = await rig.agent();
  await using tunnel = await AnsweringTunnel.connect(rig.zdsPath);
  await eventually(() => annotation(run, pod) === 'enabled');
  rig.end(pod);
  await eventually(() => tunnel.told('del', pod.uid));
  await eventually(async () => !(await rig.probed()).includes(pod.uid));
  t.is(await run.metric(/reconcile_events_total\{type="delete"\}/), 1);
});

test('two tunnels: pods are added to the newest, deleted from both', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop', AMBIENT);
  const pod = rig.pod('cart');
  await using run = await rig.agent();
  await using older = await AnsweringTunnel.connect(rig.zdsPath);
  await connected(run);
  await using newer = await AnsweringTunnel.connect(rig.zdsPath);
  await connected(run, 2);
  t.is((await rig.add(pod)).exit, 0);
  t.true(newer.told('add', pod.uid));
  t.false(older.told('add', pod.uid));
  rig.end(pod);
  await eventually(() => newer.told('del', pod.uid) && older.told('del', pod.uid));
});

test('a tunnel that does not keep to the protocol loses its connection only', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop', AMBIENT);
  const pod = rig.pod('cart');
  await using run = await rig.agent();
  for (const first of [Buffer.from([0xff, 0xff, 0xff]), Buffer.from([0x08, 0x02])]) {
    await using bad = await SeqpacketSocket.connect(rig.zdsPath);
    await bad.send(first);
    t.is(await ending(bad), 'closed');
  }
  await using _tunnel = await AnsweringTunnel.connect(rig.zdsPath);
  await connected(run);
  t.is((await rig.add(pod)).exit, 0);
});

test('connections in clear are counted and go on; STRICT cuts those that come in', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop');
  const pod = rig.pod('cart');
  rig.start(pod);
  using netns = Netns.open(pod.netnsPath);
  using inbound = await openPair(netns, pod.ip, rig.node);
  using outbound = await openPair(rig.node, pod.ip.replace(/\.2$/, '.1'), netns);
  await using run = await rig.agent();
  await using _tunnel = await AnsweringTunnel.connect(rig.zdsPath);
  await connected(run);
  rig.namespace('shop', AMBIENT);
  await eventually(() => annotation(run, pod) === 'enabled');
  t.is(await run.metric(/clear_connections_total\{direction="inbound"\}/), 1);
  t.is(await run.metric(/clear_connections_total\{direction="outbound"\}/), 1);
  t.is(await inbound.echo('still here'), 'still here');

  rig.write('strict', {
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name: 'default', namespace: 'shop' },
    spec: { mtls: { mode: 'STRICT' } },
  });
  await eventually(() => inbound.isClosed(), 'the connection is cut');
  await eventually(async () => (await run.metric(/clear_connections_cut_total /)) === 1);
  t.is(await outbound.echo('mine'), 'mine', 'who receives decides, not who calls');
});

test('when the mesh leaves the node, pods are as before and new ones start outside of it', async (t) => {
  await using rig = new AgentRig();
  rig.namespace('shop', AMBIENT);
  const [old, late] = [rig.pod('old'), rig.pod('late')];
  await using run = await rig.agent();
  await using tunnel = await AnsweringTunnel.connect(rig.zdsPath);
  await connected(run);
  t.is((await rig.add(old)).exit, 0);
  rig.start(old);
  await eventually(() => annotation(run, old) === 'enabled');
  t.is(await rig.capture(old), 'capturing', 'control: before');
  await run.uninstall();
  t.is(await rig.capture(old), 'absent');
  await eventually(() => annotation(run, old) === undefined);
  t.true(tunnel.told('del', old.uid));
  t.false((await rig.probed()).includes('istio'));
  t.is((await rig.add(late)).exit, 0);
  t.is(await rig.capture(late), 'absent');
});

interface Pair extends Disposable {
  echo(text: string): Promise<string>;
  isClosed(): boolean;
}

/** An open connection from `from` to an echo server at `ip` in `where`. */
async function openPair(where: Netns, ip: string, from: Netns): Promise<Pair> {
  const accepted: net.Socket[] = [];
  const listener = listenTcp(where, { ip, port: 8080 }, ({ fd }) => {
    const socket = new net.Socket({ fd });
    socket.on('error', () => {});
    socket.pipe(socket);
    accepted.push(socket);
  });
  const client = new net.Socket({ fd: await connectTcp(from, { to: { ip, port: 8080 }, timeoutMs: 5_000 }) });
  let closed = false;
  client.on('error', () => {});
  client.on('close', () => {
    closed = true;
  });
  await eventually(() => accepted.length === 1);
  return {
    isClosed: () => closed,
    echo(text) {
      return new Promise((resolve, reject) => {
        client.once('data', (data: Buffer) => resolve(data.toString()));
        client.once('error', reject);
        client.write(text);
      });
    },
    [Symbol.dispose]() {
      client.destroy();
      for (const socket of accepted) socket.destroy();
      listener[Symbol.dispose]();
    },
  };
}

function id({ netnsPath }: PodPlace): string {
  using netns = Netns.open(netnsPath);
  return netns.id;
}

async function ending(socket: SeqpacketSocket): Promise<string> {
  try {
    return (await socket.receive(AbortSignal.timeout(10_000))) === undefined ? 'closed' : 'message';
  } catch {
    return 'closed';
  }
}

function post(socketPath: string, path: string, body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath, path, method: 'POST' }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on('error', reject);
    request.end(body);
  });
}

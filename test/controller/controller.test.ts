/** The controller as a process: TLS on a free port, a subscriber, a signing client, a directory that is edited. */
import { ok } from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { SigningClient } from '../../src/pki/index.ts';
import { eventually } from '../support/eventually.ts';
import { ControllerProcess, Subscriber } from './controller-process.ts';

const pod = (name: string, node: string, ip: string, account = name) => `apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: shop, labels: {app: ${name}}, annotations: {ambient.istio.io/redirection: enabled}}
spec: {nodeName: ${node}, serviceAccountName: ${account}}
status: {phase: Running, podIP: ${ip}, conditions: [{type: Ready, status: "True"}]}
`;
const TUNNEL = `apiVersion: v1
kind: Pod
metadata: {name: ztunnel-1, namespace: istio-system, uid: ztunnel-1-uid}
spec: {nodeName: node1, serviceAccountName: ztunnel}
status: {phase: Running}
`;
const policy = (ports: string) => `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {ports: [${ports}]}}]}]}
`;
const FILES = {
  'namespace.yaml': 'apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n',
  'front.yaml': pod('front', 'node1', '10.0.0.1'),
  'cart.yaml': pod('cart', 'node2', '10.0.0.2'),
  'tunnel.yaml': TUNNEL,
};
const FRONT = 'Kubernetes//Pod/shop/front';

test('a subscriber gets the mesh, edits, removals, and the author hears who took them', async (t) => {
  await using controller = await ControllerProcess.start(FILES);
  await using subscriber = await Subscriber.connect(controller);
  await subscriber.client.ready;
  const front = subscriber.addresses.get(FRONT);
  t.like(front, { kind: 'workload', workload: { addresses: ['10.0.0.1'], tunnelProtocol: 'HBONE', node: 'node1' } });
  t.is(subscriber.policies.size, 0); // the control: what is not written is not there

  await controller.put('policy.yaml', policy('"80"'));
  await eventually(() => subscriber.policies.has('shop/deny'));
  const [rule] = subscriber.policies.get('shop/deny')?.rules ?? [];
  t.deepEqual(rule?.clauses[0]?.matches[0]?.destinationPorts, [80]);

  const overlay = join(
    controller.resources,
    '.overlay/culvert-controller/AuthorizationPolicy.security.istio.io/shop/deny.json',
  );
  await eventually(async () =>
    (await readFile(overlay, 'utf8').catch(() => '')).includes('acknowledged by 1 of 2 nodes that need it'),
  );
  const { patch } = JSON.parse(await readFile(overlay, 'utf8')) as {
    patch: { status: { conditions: readonly { type: string; status: string; observedGeneration: string }[] } };
  };
  t.like(patch.status.conditions[0], { type: 'ZtunnelAccepted', status: 'True', observedGeneration: '1' });
  // No tunnel of node2 is there.
  t.like(patch.status.conditions[1], { type: 'culvert.dev/Distributed', status: 'False', reason: 'Pending' });

  await controller.put('policy.yaml', policy('"81"'));
  await eventually(() => {
    const [next] = subscriber.policies.get('shop/deny')?.rules ?? [];
    return next?.clauses[0]?.matches[0]?.destinationPorts[0] === 81;
  });
  await controller.remove('policy.yaml');
  await eventually(() => !subscriber.policies.has('shop/deny'));
  await controller.remove('front.yaml');
  await eventually(() => !subscriber.addresses.has(FRONT));
  t.deepEqual(subscriber.ended, []);
});

test('control: with the controller killed an edit reaches nobody, and when it is back it does', async (t) => {
  await using controller = await ControllerProcess.start(FILES);
  await using subscriber = await Subscriber.connect(controller);
  await subscriber.client.ready;
  const assertPolicy = () => ok(subscriber.policies.has('shop/deny'));
  await controller.kill('SIGKILL');
  await controller.put('policy.yaml', policy('"80"'));
  t.throws(assertPolicy);
  await controller.restart();
  await eventually(() => subscriber.policies.size > 0);
  t.notThrows(assertPolicy);
});

test('a broken edit is reported with file and line, and what was there stays', async (t) => {
  await using controller = await ControllerProcess.start({ ...FILES, 'policy.yaml': policy('"80"') });
  await using subscriber = await Subscriber.connect(controller);
  await subscriber.client.ready;
  await controller.put('policy.yaml', policy('"80"').replace('rules:', 'rulez:'));
  await eventually(async () => (await controller.get('/debug/problems')).body.includes('rulez'));
  const [problem] = JSON.parse((await controller.get('/debug/problems')).body) as [{ file: string; line: number }];
  t.like(problem, { file: 'policy.yaml', line: 4 });
  await controller.put('front.yaml', 'kind: [');
  await controller.put('late.yaml', pod('late', 'node1', '10.0.0.3'));
  await eventually(() => subscriber.addresses.has('Kubernetes//Pod/shop/late'));
  t.true(subscriber.policies.has('shop/deny'));
  t.true(subscriber.addresses.has(FRONT));
  t.regex(controller.output, /manifest refused/);
});

test('a policy that was never good denies what it may guard, after a restart too, until it is mended', async (t) => {
  const broken = policy('"80"').replace('rules:', 'rulez:');
  await using controller = await ControllerProcess.start({ ...FILES, 'policy.yaml': policy('"80"') });
  await using subscriber = await Subscriber.connect(controller);
  await subscriber.client.ready;
  await controller.put('policy.yaml', broken);
  await eventually(async () => (await controller.get('/debug/problems')).body.includes('rulez'));
  t.is(subscriber.policies.get('shop/deny')?.rules[0]?.clauses.length, 1); // the control: its last good version holds
  await controller.kill('SIGKILL');
  await controller.restart();
  await eventually(() => subscriber.policies.get('shop/deny')?.rules[0]?.clauses.length === 0);
  t.like(subscriber.policies.get('shop/deny'), { scope: 'NAMESPACE', action: 'DENY' });
  t.regex(controller.output, /policy cannot be understood: what it may guard is denied.*shop\/deny/);
  const overlay = '.overlay/culvert-controller/AuthorizationPolicy.security.istio.io/shop/deny.json';
  const status = () => readFile(join(controller.resources, overlay), 'utf8').catch(() => '');
  await eventually(async () => (await status()).includes('everything is denied until it is mended'));
  await controller.put('policy.yaml', policy('"81"'));
  await eventually(() => subscriber.policies.get('shop/deny')?.rules[0]?.clauses.length === 1);
  await eventually(async () => (await status()).includes('attached to ztunnel'));
});

test('a policy in a file that is no YAML denies what it may guard as far as it can be read', async (t) => {
  const text = `${policy('"80"')}---\nkind: [\n`;
  await using controller = await ControllerProcess.start({ ...FILES, 'policy.yaml': text });
  await using subscriber = await Subscriber.connect(controller);
  await subscriber.client.ready;
  t.deepEqual(subscriber.policies.get('shop/deny')?.rules, [{ clauses: [] }]);
  await controller.remove('policy.yaml');
  await eventually(() => !subscriber.policies.has('shop/deny'));
});

test('an unknown token and a foreign namespace are refused; a token becomes valid when the file says so', async (t) => {
  await using controller = await ControllerProcess.start(FILES);
  await using stranger = await Subscriber.connect(controller, { token: 'other' });
  await eventually(() => stranger.ended.length > 0);
  await using liar = await Subscriber.connect(controller, { namespace: 'shop' });
  await eventually(() => liar.ended.length > 0);
  t.is(stranger.addresses.size, 0);
  t.is(liar.addresses.size, 0);
  const before = await readFile(controller.tokensFile, 'utf8');
  await writeFile(controller.tokensFile, `${before}other,system:serviceaccount:istio-system:ztunnel,u,"g"\n`);
  await stranger.client.ready;
  t.true(stranger.addresses.has(FRONT));
});

test('a tunnel gets certificates for the pods of its node only', async (t) => {
  await using controller = await ControllerProcess.start(FILES);
  const options = { ttlSeconds: 3_600, impersonate: true };
  const roots = await controller.rootsPem();
  await using client = new SigningClient({ endpoint: controller.endpoint(roots), ...options });
  await using stranger = new SigningClient({ endpoint: controller.endpoint(roots, 'other'), ...options });
  const signal = AbortSignal.timeout(20_000);
  const of = (serviceAccount: string, trustDomain = 'cluster.local') => ({
    trustDomain,
    namespace: 'shop',
    serviceAccount,
  });
  const svid = await client.fetch(of('front'), signal);
  t.is(svid.rootsPem.trim(), roots.trim());
  await t.throwsAsync(client.fetch(of('cart'), signal), { code: 'ERR_CA' }); // on node2
  await t.throwsAsync(client.fetch(of('nobody'), signal), { code: 'ERR_CA' });
  await t.throwsAsync(client.fetch(of('front', 'other.domain'), signal), { code: 'ERR_CA' });
  await t.throwsAsync(stranger.fetch(of('front'), signal), { code: 'ERR_CA' });
  await controller.put('cart.yaml', pod('cart', 'node1', '10.0.0.2'));
  await eventually(() =>
    client.fetch(of('cart'), signal).then(
      () => true,
      () => false,
    ),
  );
});

test('after kill -9 it comes back with the same root, and a subscriber keeps what it had', async (t) => {
  await using controller = await ControllerProcess.start(FILES);
  await using subscriber = await Subscriber.connect(controller);
  await subscriber.client.ready;
  const roots = await controller.rootsPem();
  await controller.kill('SIGKILL');
  t.true(subscriber.addresses.has(FRONT));
  await controller.put('late.yaml', pod('late', 'node1', '10.0.0.3'));
  await controller.remove('cart.yaml');
  await controller.restart();
  await eventually(() => subscriber.addresses.has('Kubernetes//Pod/shop/late'));
  t.true(subscriber.addresses.has(FRONT));
  await eventually(() => !subscriber.addresses.has('Kubernetes//Pod/shop/cart'));
  t.is(await controller.rootsPem(), roots);
});

test('it publishes its root, its metrics and its readiness, and ends in order', async (t) => {
  await using controller = await ControllerProcess.start(FILES);
  await using subscriber = await Subscriber.connect(controller);
  await subscriber.client.ready;
  t.is((await controller.get('/ready')).status, 200);
  const { body } = await controller.get('/metrics', controller.ports.metrics);
  t.regex(body, /^pilot_xds 1$/m);
  t.regex(body, /^culvert_served_resources\{kind="workload"\} 2$/m);
  t.regex((await controller.get('/debug/syncz')).body, /node1/);
  const configMap = join(controller.resources, '.objects/ConfigMap.core/shop/istio-ca-root-cert.json');
  await eventually(async () => (await readFile(configMap, 'utf8').catch(() => '')).includes('BEGIN CERTIFICATE'));
  t.is(await controller.kill('SIGTERM'), 0);
});

test('configuration that is missing is named, all of it', async (t) => {
  const { parseControllerConfig } = await import('../../src/cli/controller.ts');
  const namesAll = (env: Record<string, string>, names: readonly string[]) => {
    const error = t.throws(() => parseControllerConfig(env), { code: 'ERR_CONFIG' });
    for (const name of names) t.regex(error?.message ?? '', new RegExp(name));
  };
  namesAll({ LISTEN_PORT: 'x' }, ['RESOURCE_DIR', 'KUBECONFIG', 'LISTEN_PORT']);
  namesAll({ RESOURCE_DIR: '/resources', LISTEN_PORT: 'x' }, ['CA_DIR', 'TOKENS_FILE', 'LISTEN_PORT']);
});

test('over an API server neither a folder for the authority nor a token file is needed', async (t) => {
  const { parseControllerConfig } = await import('../../src/cli/controller.ts');
  const inPod = parseControllerConfig({ KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '6443' });
  t.like(inPod.provider, { kind: 'cluster', location: { kind: 'in-cluster', host: '10.96.0.1', port: '6443' } });
  t.deepEqual(inPod.authority, { kind: 'secret', asCacerts: false });
  t.deepEqual([inPod.tokensFile, inPod.tokenAudiences], [undefined, ['istio-ca']]);
  const outside = parseControllerConfig({ KUBECONFIG: '/config', KUBERNETES_SERVICE_HOST: '10.96.0.1' });
  t.like(outside.provider, { kind: 'cluster', location: { kind: 'kubeconfig', file: '/config' } });
});

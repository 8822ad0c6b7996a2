import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { parse } from 'yaml';
import { type ApiClient, ClientWriter, type KubeObject } from '../../src/kube/index.ts';
import { SigningClient } from '../../src/pki/index.ts';
import { eventually } from '../support/eventually.ts';
import { openApi } from './cluster-harness.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const POD = { group: '', kind: 'Pod' };
const POLICY = { group: 'security.istio.io', kind: 'AuthorizationPolicy' };
const CONFIG_MAP = { group: '', kind: 'ConfigMap' };
const SYSTEM = `culvert-e2e-${process.pid}-system`;
const SHOP = `culvert-e2e-${process.pid}-shop`;

type WithStatus = KubeObject & { readonly status?: { readonly conditions?: readonly { type: string }[] } };

async function applyCrds(api: ApiClient): Promise<void> {
  const folder = join(ROOT, 'deploy/crds');
  for (const file of await readdir(folder)) {
    const crd = parse(await readFile(join(folder, file), 'utf8')) as KubeObject;
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${crd.metadata.name}`;
    const query = { fieldManager: 'e2e', force: 'true' };
    const call = { method: 'PATCH', path, query, body: crd, contentType: 'application/apply-patch+yaml' } as const;
    const answer = await api.callPatiently(call);
    if (answer.status >= 300) throw new Error(`${file}: ${JSON.stringify(answer.body)}`);
  }
}

function pod(namespace: string, account: string, node: string): KubeObject {
  const containers = [{ name: 'app', image: 'example.invalid/app' }];
  const spec = { nodeName: node, serviceAccountName: account, automountServiceAccountToken: false, containers };
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name: account, namespace }, spec } as KubeObject;
}

/** A token of the tunnel's account, bound to its pod. */
async function tunnelToken(api: ApiClient, uid: string, audience: string): Promise<string> {
  const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', name: 'ztunnel', uid };
  const spec = { audiences: [audience], expirationSeconds: 3_600, boundObjectRef };
  const path = `/api/v1/namespaces/${SYSTEM}/serviceaccounts/ztunnel/token`;
  const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec };
  const answer = await api.callPatiently({ method: 'POST', path, body, contentType: 'application/json' });
  return (answer.body as { status: { token: string } }).status.token;
}

async function startController(t: ExecutionContext, name: string): Promise<{ child: ChildProcess; port: number }> {
  const directory = await mkdtemp(join(tmpdir(), `culvert-e2e-${process.pid}-`));
  const portsFile = join(directory, 'ports.json');
  const child = spawn(process.execPath, [join(ROOT, 'src/cli/main.ts'), 'controller'], {
    env: {
      ...{ PATH: process.env.PATH, KUBECONFIG: process.env.KUBECONFIG, NODE_NO_WARNINGS: '1', POD_NAMESPACE: SYSTEM },
      ...{ CACERTS_DIR: join(directory, 'none'), PORTS_FILE: portsFile, LISTEN_HOST: '127.0.0.1' },
      ...{ LISTEN_PORT: '0', METRICS_PORT: '0', READY_PORT: '0' },
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let output = '';
  child.stderr?.on('data', (data: Buffer) => {
    output += data.toString();
  });
  t.teardown(async () => {
    if (child.exitCode === null && child.kill('SIGKILL')) await once(child, 'exit');
    await rm(directory, { recursive: true, force: true });
  });
  let port = 0;
  await eventually(async () => {
    if (child.exitCode !== null) throw new Error(`controller ${name} ended: ${output}`);
    const text = await readFile(portsFile, 'utf8').catch(() => '{}');
    port = (JSON.parse(text) as { xds?: number }).xds ?? 0;
    return port !== 0;
  }, `controller ${name} is ready`);
  return { child, port };
}

test('over an API server: one root for all replicas, reviewed tokens, certificates by node, statuses', async (t) => {
  const api = await openApi();
  const person = new ClientWriter({ api, manager: 'e2e' });
  t.teardown(async () => {
    for (const name of [SYSTEM, SHOP]) await api.call({ method: 'DELETE', path: `/api/v1/namespaces/${name}` });
  });
  await applyCrds(api);
  for (const [namespace, accounts] of [[SYSTEM, ['ztunnel']] as const, [SHOP, ['front', 'cart']] as const]) {
    await person.applyObject({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    for (const name of accounts) {
      await person.applyObject({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } });
      await person.applyObject(pod(namespace, name, name === 'cart' ? 'e2e-node2' : 'e2e-node1'));
    }
  }
  const [one, other] = await Promise.all(['one', 'other'].map((name) => startController(t, name)));
  t.truthy(one && other);

  // The root is where every pod can read it, and both replicas sign with it.
  const key = { namespace: SHOP, name: 'istio-ca-root-cert' };
  const published = async () =>
    ((await person.readObject(CONFIG_MAP, key)) as { data?: Record<string, string> } | undefined)?.data?.[
      'root-cert.pem'
    ];
  await eventually(async () => (await published()) !== undefined);
  const roots = (await published()) ?? '';
  const tunnel = await person.readObject(POD, { namespace: SYSTEM, name: 'ztunnel' });
  const good = await tunnelToken(api, tunnel?.metadata.uid ?? '', 'istio-ca');
  const wrongAudience = await tunnelToken(api, tunnel?.metadata.uid ?? '', 'somebody-else');
  const signal = AbortSignal.timeout(60_000);
  const identity = (serviceAccount: string) => ({ trustDomain: 'cluster.local', namespace: SHOP, serviceAccount });
  const client = (port: number, token: string) =>
    new SigningClient({
      endpoint: {
        address: `https://localhost:${port}`,
        roots: { text: roots },
        token: { text: token },
        headers: { clusterid: 'Kubernetes' },
      },
      ttlSeconds: 3_600,
      impersonate: true,
    });
  for (const replica of [one, other]) {
    await using tunnelClient = client(replica?.port ?? 0, good);
    const svid = await tunnelClient.fetch(identity('front'), signal);
    t.is(svid.rootsPem.trim(), roots.trim());
    await t.throwsAsync(tunnelClient.fetch(identity('cart'), signal), { code: 'ERR_CA' }); // a pod of another node
    for (const token of [wrongAudience, 'forged']) {
      await using stranger = client(replica?.port ?? 0, token);
      await t.throwsAsync(stranger.fetch(identity('front'), signal), { code: 'ERR_CA' });
    }
  }

  // A root certificate that somebody removes comes back.
  await api.call({ method: 'DELETE', path: `/api/v1/namespaces/${SHOP}/configmaps/${key.name}` });
  await eventually(async () => (await published()) === roots);

  // A policy hears what became of it.
  await person.applyObject({
    ...{ apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy', metadata: { namespace: SHOP, name: 'deny' } },
    ...{ spec: { action: 'DENY', rules: [{ to: [{ operation: { ports: ['81'] } }] }] } },
  } as KubeObject);
  await eventually(async () => {
    const policy = (await person.readObject(POLICY, { namespace: SHOP, name: 'deny' })) as WithStatus | undefined;
    return policy?.status?.conditions?.some(({ type }) => type === 'ZtunnelAccepted') === true;
  });
});

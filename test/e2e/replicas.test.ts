import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { silentLogger } from '../../src/core/logger.ts';
import { systemClock } from '../../src/core/system-clock.ts';
import type { ClientWriter, KubeObject } from '../../src/kube/index.ts';
import { SigningClient } from '../../src/pki/index.ts';
import { addressSubscription, DiscoveryClient } from '../../src/xds/index.ts';
import { eventually } from '../support/eventually.ts';
import { openTcpForwarder } from '../support/tcp-forwarder.ts';
import { openApi } from './cluster-harness.ts';
import { applyCrds, makeNamespaces, pod, podToken, startController } from './controller-replicas.ts';
import { startCustomSigner } from './custom-signer.ts';

const POLICY = { group: 'security.istio.io', kind: 'AuthorizationPolicy' };
const CONFIG_MAP = { group: '', kind: 'ConfigMap' };
const LEASE = { group: 'coordination.k8s.io', kind: 'Lease' };
const PREFIX = `culvert-e2e-${process.pid}-r`;

async function roots(person: ClientWriter, namespace: string): Promise<string | undefined> {
  const key = { namespace, name: 'istio-ca-root-cert' };
  const object = await person.readObject(CONFIG_MAP, key);
  return (object as { data?: Record<string, string> } | undefined)?.data?.['root-cert.pem'];
}

async function holder(person: ClientWriter, system: string): Promise<string> {
  const lease = await person.readObject(LEASE, { namespace: system, name: 'istio-leader' });
  return (lease as { spec?: { holderIdentity?: string } } | undefined)?.spec?.holderIdentity ?? '';
}

function policy(namespace: string, name: string): KubeObject {
  const rules = [{ to: [{ operation: { ports: ['81'] } }] }];
  return {
    ...{ apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy', metadata: { namespace, name } },
    spec: { action: 'DENY', rules },
  } as KubeObject;
}

async function hasStatus(person: ClientWriter, namespace: string, name: string): Promise<boolean> {
  const object = (await person.readObject(POLICY, { namespace, name })) as
    | { status?: { conditions?: unknown[] } }
    | undefined;
  return (object?.status?.conditions ?? []).length > 0;
}

async function setUp(t: ExecutionContext, id: string, env: Readonly<Record<string, string>> = {}) {
  const api = await openApi();
  await applyCrds(api);
  const [system, shop] = [`${PREFIX}-${id}-system`, `${PREFIX}-${id}-shop`];
  const person = await makeNamespaces(t, api, { [system]: ['ztunnel'], [shop]: ['front'] });
  await person.applyObject(pod(system, 'ztunnel', 'e2e-node1'));
  await person.applyObject(pod(shop, 'front', 'e2e-node1'));
  const tunnel = await person.readObject({ group: '', kind: 'Pod' }, { namespace: system, name: 'ztunnel' });
  const token = await podToken(api, { namespace: system, name: 'ztunnel', uid: tunnel?.metadata.uid ?? '' });
  const start = (name: string) => startController(t, name, { POD_NAMESPACE: system, ...env });
  return { api, person, system, shop, token, start };
}

test('one replica writes; when it ends the other takes over at once, when it dies after the lease has run out', async (t) => {
  const { person, system, shop, start } = await setUp(t, 'lead');
  const one = await start('one');
  await eventually(async () => (await holder(person, system)).startsWith('one_'), 'the first leads');
  const other = await start('other');
  await person.applyObject(policy(shop, 'first'));
  await eventually(() => hasStatus(person, shop, 'first'), 'the leader writes');
  t.true((await holder(person, system)).startsWith('one_'));
  const from = Date.now();
  await one.stop('SIGTERM');
  await eventually(async () => (await holder(person, system)).startsWith('other_'), 'the lease is handed over');
  t.log(`handed over in ${Date.now() - from} ms`);
  await person.applyObject(policy(shop, 'second'));
  await eventually(() => hasStatus(person, shop, 'second'), 'the next leader writes');
  await other.stop('SIGKILL');
  await start('third');
  await eventually(async () => (await holder(person, system)).startsWith('third_'), 'the lease has run out', 60_000);
});

test('the death of a replica costs one reconnect and sends nothing anew', async (t) => {
  const { person, system, shop, token, start } = await setUp(t, 'churn');
  const replicas = await Promise.all(['one', 'other'].map(start));
  await eventually(async () => (await roots(person, shop)) !== undefined);
  await using service = await openTcpForwarder();
  service.lead(replicas[0]?.ports.xds ?? 0);
  const received: { updated: number; removed: number }[] = [];
  const endings: string[] = [];
  const client = new DiscoveryClient({
    endpoint: {
      ...{ address: `https://localhost:${service.port}`, headers: { clusterid: 'Kubernetes' } },
      ...{ roots: { text: (await roots(person, shop)) ?? '' }, token: { text: token } },
    },
    node: { id: `ztunnel~10.0.0.1~ztunnel.${system}~x`, metadata: { NAMESPACE: system, NODE_NAME: 'e2e-node1' } },
    subscriptions: [
      addressSubscription('wildcard', ({ updated, removed }) => {
        received.push({ updated: updated.length, removed: removed.length });
      }),
    ],
    ...{ clock: systemClock, log: silentLogger },
    onTermination: (reason) => endings.push(reason),
  });
  const stop = new AbortController();
  const running = client.run(stop.signal);
  await client.ready;
  t.true((received[0]?.updated ?? 0) > 0);
  const before = received.length;
  service.lead(replicas[1]?.ports.xds ?? 0);
  await replicas[0]?.stop('SIGKILL');
  await eventually(() => received.length > before, 'the other replica answers');
  t.deepEqual(received.slice(before), [{ updated: 0, removed: 0 }]);
  t.is(endings.length, 1);
  t.is(service.taken(), 2);

  // control: what did change while nobody listened is sent.
  await person.applyObject({
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'later', namespace: shop } },
    spec: { clusterIP: 'None', ports: [{ port: 80 }] },
  } as KubeObject);
  await eventually(() => received.at(-1)?.updated === 1, 'control: a change arrives');
  stop.abort();
  await running;
});

test('a signer of the cluster signs for workloads and for the control plane', async (t) => {
  const signerName = `e2e-${process.pid}.culvert.dev/mesh`;
  await using signer = await startCustomSigner(await openApi(), signerName, ['localhost']);
  const folder = await mkdtemp(join(tmpdir(), `culvert-e2e-${process.pid}-`));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'root-cert.pem'), signer.rootPem);
  const external = { EXTERNAL_CA: 'ISTIOD_RA_KUBERNETES_API', K8S_SIGNER: signerName, EXTERNAL_CA_CERT_DIR: folder };
  const { start, person, shop, token, api } = await setUp(t, 'csr', external);
  const replica = await start('one');
  await eventually(async () => (await roots(person, shop))?.trim() === signer.rootPem.trim(), 'the root is published');
  await using tunnel = new SigningClient({
    endpoint: {
      ...{ address: `https://localhost:${replica.ports.xds}`, headers: { clusterid: 'Kubernetes' } },
      ...{ roots: { text: signer.rootPem }, token: { text: token } },
    },
    ...{ ttlSeconds: 3_600, impersonate: true },
  });
  const identity = (serviceAccount: string, namespace = shop) => ({
    trustDomain: 'cluster.local',
    namespace,
    serviceAccount,
  });
  const svid = await tunnel.fetch(identity('front'), AbortSignal.timeout(30_000));
  t.deepEqual(svid.chain[0]?.uriNames, [`spiffe://cluster.local/ns/${shop}/sa/front`]);
  await t.throwsAsync(tunnel.fetch(identity('nobody'), AbortSignal.timeout(30_000)), { code: 'ERR_CA' });
  const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
  const { body } = await api.callPatiently({ method: 'GET', path });
  const left = (body as { items: { metadata: { name: string } }[] }).items.filter(({ metadata }) =>
    metadata.name.startsWith('csr-workload-'),
  );
  t.deepEqual(left, []);
  t.deepEqual(signer.signed, ['server', `spiffe://cluster.local/ns/${shop}/sa/front`]);
});

import test from 'ava';
import type { KubeObject } from '../../src/kube/index.ts';
import { SigningClient } from '../../src/pki/index.ts';
import { eventually } from '../support/eventually.ts';
import { openApi } from './cluster-harness.ts';
import { applyCrds, makeNamespaces, pod, podToken, startController } from './controller-replicas.ts';

const POD = { group: '', kind: 'Pod' };
const POLICY = { group: 'security.istio.io', kind: 'AuthorizationPolicy' };
const CONFIG_MAP = { group: '', kind: 'ConfigMap' };
const SYSTEM = `culvert-e2e-${process.pid}-system`;
const SHOP = `culvert-e2e-${process.pid}-shop`;

type WithStatus = KubeObject & { readonly status?: { readonly conditions?: readonly { type: string }[] } };

test('over an API server: one root for all replicas, reviewed tokens, certificates by node, statuses', async (t) => {
  const api = await openApi();
  await applyCrds(api);
  const person = await makeNamespaces(t, api, { [SYSTEM]: ['ztunnel'], [SHOP]: ['front', 'cart'] });
  await person.applyObject(pod(SYSTEM, 'ztunnel', 'e2e-node1'));
  await person.applyObject(pod(SHOP, 'front', 'e2e-node1'));
  await person.applyObject(pod(SHOP, 'cart', 'e2e-node2'));
  const [one, other] = await Promise.all(
    ['one', 'other'].map((name) => startController(t, name, { POD_NAMESPACE: SYSTEM })),
  );
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
  const bound = { namespace: SYSTEM, name: 'ztunnel', uid: tunnel?.metadata.uid ?? '' };
  const good = await podToken(api, bound);
  const wrongAudience = await podToken(api, bound, 'somebody-else');
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
    await using tunnelClient = client(replica?.ports.xds ?? 0, good);
    const svid = await tunnelClient.fetch(identity('front'), signal);
    t.is(svid.rootsPem.trim(), roots.trim());
    await t.throwsAsync(tunnelClient.fetch(identity('cart'), signal), { code: 'ERR_CA' }); // a pod of another node
    for (const token of [wrongAudience, 'forged']) {
      await using stranger = client(replica?.ports.xds ?? 0, token);
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

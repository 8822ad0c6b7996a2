import test from 'ava';
import type { KubeObject } from '../../kube/index.ts';
import { workloadsOf } from '../ir.ts';
import { DEFAULT_MESH_SETTINGS } from '../mesh-settings.ts';
import { resourcesOf } from '../resources-fixture.ts';
import { Translator } from './translator.ts';

const object = (kind: string, name: string, rest: object): KubeObject => ({
  apiVersion: kind === 'Gateway' ? 'gateway.networking.k8s.io/v1' : 'v1',
  kind,
  ...{ metadata: { name, namespace: 'shop' } },
  ...rest,
});
const pod = (name: string, ip: string, labels: Record<string, string>) =>
  object('Pod', name, {
    metadata: { name, namespace: 'shop', labels },
    spec: { serviceAccountName: name },
    status: { podIP: ip },
  });
const GATEWAY = 'gateway.networking.k8s.io/gateway-name';
const objects = [
  object('Gateway', 'wp', {
    spec: { gatewayClassName: 'istio-waypoint' },
    status: { addresses: [{ type: 'IPAddress', value: '10.96.0.9' }] },
  }),
  object('Service', 'cart', {
    metadata: { name: 'cart', namespace: 'shop', labels: { 'istio.io/use-waypoint': 'wp' } },
    spec: { clusterIP: '10.96.0.1', selector: { app: 'cart' }, ports: [{ port: 80 }] },
  }),
  pod('cart', '10.0.0.1', { app: 'cart' }),
  pod('front', '10.0.0.2', { app: 'front' }),
];
const KEY = 'shop/istio_allow_waypoint_shop_wp';

function translate(autoAllowWaypoints: boolean, more: readonly KubeObject[]) {
  const { ir } = new Translator({ ...DEFAULT_MESH_SETTINGS, autoAllowWaypoints }).translate(
    resourcesOf([...objects, ...more]),
    new Map([['Service shop/cart', ['shop/wp']]]),
  );
  const listed = workloadsOf(ir).filter(({ authorizationPolicies }) => authorizationPolicies.includes(KEY));
  return { policies: ir.policies, listed: listed.map(({ name }) => name) };
}

const instance = pod('wp-1', '10.0.0.3', { [GATEWAY]: 'wp', app: 'cart' });

test('endpoints of a service with a waypoint let only its instances in', (t) => {
  const { policies, listed } = translate(true, [instance]);
  t.deepEqual(listed, ['cart']);
  t.like(policies[0], { name: 'istio_allow_waypoint_shop_wp', scope: 'WORKLOAD_SELECTOR', action: 'ALLOW' });
  t.deepEqual(policies[0]?.rules[0]?.clauses[0]?.matches[0]?.principals, [
    { kind: 'exact', value: 'cluster.local/ns/shop/sa/wp-1' },
  ]);
});

test('a waypoint without instances closes nothing', (t) => {
  t.deepEqual(translate(true, []), { policies: [], listed: [] });
});

test('unless the mesh asks for it there is no such policy', (t) => {
  t.deepEqual(translate(false, [instance]), { policies: [], listed: [] });
});

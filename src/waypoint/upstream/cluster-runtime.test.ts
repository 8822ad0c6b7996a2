import test from 'ava';
import { type Cluster, DEFAULT_TRAFFIC_POLICY, type WaypointEndpoint } from '../../model/l7/index.ts';
import { ClusterRuntime } from './cluster-runtime.ts';
import { UpstreamDialer } from './dialer.ts';

const WAYPOINT = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'waypoint' };
const cluster: Cluster = {
  namespace: 'shop',
  hostname: 'web.shop.svc.cluster.local',
  name: 'web',
  resolution: 'STATIC',
  location: 'MESH_INTERNAL',
  loadBalancing: { mode: 'UNSPECIFIED', routingPreference: [], healthPolicy: 'ONLY_HEALTHY' },
  subjectAltNames: [],
  ports: [{ port: 80, protocol: 'HTTP11', policy: DEFAULT_TRAFFIC_POLICY, subsets: [] }],
};

function endpoint(uid: string): WaypointEndpoint {
  return {
    uid,
    name: uid,
    namespace: 'shop',
    workloadName: 'web',
    canonicalName: 'web',
    canonicalRevision: 'latest',
    addresses: ['10.0.0.1'],
    hostname: '',
    network: '',
    clusterId: 'Kubernetes',
    node: 'n1',
    locality: { region: '', zone: '', subzone: '' },
    hbone: true,
    identity: 'spiffe://cluster.local/ns/shop/sa/web',
    ports: [{ servicePort: 80, targetPort: 8080 }],
    labels: {},
    healthy: true,
    weight: 1,
    policies: [],
  };
}

function endpoints(...uids: readonly string[]) {
  return { namespace: cluster.namespace, hostname: cluster.hostname, endpoints: uids.map(endpoint) };
}

function runtime(...uids: readonly string[]): ClusterRuntime {
  const unused = () => {
    throw new Error('nothing is dialled here');
  };
  const dialer = new UpstreamDialer({ engine: { originate: unused }, identity: WAYPOINT, resolve: unused });
  return new ClusterRuntime(cluster, endpoints(...uids), { dialer, random: () => 0, nowMs: () => 0 });
}

function picked(runtime: ClusterRuntime): string | undefined {
  const set = runtime.find(80, '');
  return set && runtime.pick(set)?.endpoint.uid;
}

test('a cluster whose endpoints are taken away first serves on with those it had', (t) => {
  const web = runtime('a');
  web.update(cluster, undefined);
  t.is(picked(web), 'a');
});

test('endpoints that are no longer listed get nothing', (t) => {
  const web = runtime('a');
  web.update(cluster, endpoints('b'));
  t.is(picked(web), 'b');
  web.update(cluster, endpoints());
  t.is(picked(web), undefined);
});

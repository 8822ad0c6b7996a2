import test from 'ava';
import {
  type Cluster,
  DEFAULT_TRAFFIC_POLICY,
  exactly,
  type HttpRoute,
  toBackend,
  toBoundService,
  toGatewayConfig,
  toRoute,
} from '../model/l7/index.ts';
import { decodeWaypointResource, encodeWaypointResource, type WaypointResources } from './waypoint-codec.ts';
import { BOUND_SERVICE_TYPE, CLUSTER_TYPE, GATEWAY_CONFIG_TYPE, type WaypointType } from './waypoint-types.ts';

const ROUTE: HttpRoute = toRoute({
  name: 'shop/reviews.0',
  match: {
    path: { kind: 'SEGMENTS', value: '/v2', ignoreCase: false },
    method: exactly('GET'),
    headers: [{ name: 'x-canary', match: { kind: 'REGEX', value: '(yes|no)', ignoreCase: false }, invert: true }],
    query: [],
  },
  action: { kind: 'FORWARD', backends: [toBackend({ cluster: 'shop/reviews.shop.svc.cluster.local', port: 80 })] },
  rewrite: { hostname: 'other', path: { kind: 'PREFIX', value: '/', pattern: '' } },
  mirrors: [{ backend: { cluster: 'shop/m', port: 80, subset: 'v1' }, percent: 12.5 }],
  cors: {
    origins: [],
    methods: ['GET'],
    requestHeaders: [],
    exposedHeaders: [],
    credentials: true,
    forwardUnmatched: false,
  },
  fault: { delay: { delayMs: 10, percent: 1 }, abort: { httpStatus: 503, percent: 0.1 } },
  retry: {
    attempts: 2,
    perTryTimeoutMs: 0,
    retryOn: ['5xx'],
    statusCodes: [409],
    backoffBaseMs: 25,
    backoffMaxMs: 250,
    avoidPreviousHosts: true,
    remoteLocalities: false,
    hedge: false,
  },
  sessionPersistence: { kind: 'COOKIE', name: 'sticky', ttlSeconds: 0, path: '/' },
});

const CLUSTER: Cluster = {
  namespace: 'shop',
  hostname: 'reviews.shop.svc.cluster.local',
  name: 'reviews',
  resolution: 'STATIC',
  location: 'MESH_INTERNAL',
  loadBalancing: { mode: 'FAILOVER', routingPreference: ['NETWORK', 'ZONE'], healthPolicy: 'ONLY_HEALTHY' },
  subjectAltNames: [],
  ports: [
    {
      port: 80,
      protocol: 'HTTP2',
      policy: { ...DEFAULT_TRAFFIC_POLICY, retryBudget: { percent: 20, minConcurrency: 3 } },
      subsets: [{ name: 'v1', labels: { version: 'v1' }, policy: DEFAULT_TRAFFIC_POLICY }],
    },
  ],
};

const isTheSame = test.macro(
  <T extends WaypointType>(t: { deepEqual(a: unknown, b: unknown): void }, type: T, value: WaypointResources[T]) => {
    t.deepEqual(decodeWaypointResource(type, encodeWaypointResource(type, value)), value);
  },
);
test('a service with a route survives the way', isTheSame, BOUND_SERVICE_TYPE, {
  ...toBoundService({ namespace: 'shop', name: 'reviews', hostname: 'reviews.shop.svc.cluster.local' }),
  addresses: [{ network: '', range: { ip: '10.96.0.20', prefixLength: 32 } }],
  ports: [
    {
      port: 80,
      protocol: 'HTTP11',
      virtualHosts: [{ name: 'shop/reviews', hosts: ['*'], clientNamespaces: [], routes: [ROUTE] }],
      l4Routes: [],
    },
  ],
});
test('a cluster survives the way', isTheSame, CLUSTER_TYPE, CLUSTER);
test('a gateway survives the way', isTheSame, GATEWAY_CONFIG_TYPE, toGatewayConfig({ namespace: 'shop', name: 'wp' }));

test('a value with an unknown field is refused', (t) => {
  const value = { ...CLUSTER, colour: 'red' } as Cluster;
  t.throws(() => encodeWaypointResource(CLUSTER_TYPE, value), { code: 'ERR_MALFORMED', message: /colour/ });
});
test('bytes that are no message are refused', (t) => {
  t.throws(() => decodeWaypointResource(CLUSTER_TYPE, Uint8Array.of(10, 200)), { code: 'ERR_MALFORMED' });
});

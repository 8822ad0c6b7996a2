/** The discovery client against the discovery server: one process, real gRPC over TLS on loopback. */
import { connect, createServer, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { createGrpcServer, type GrpcServer, startGrpcServer } from '../../src/core/grpc-server.ts';
import { silentLogger } from '../../src/core/logger.ts';
import { systemClock } from '../../src/core/system-clock.ts';
import type { Authorization } from '../../src/model/authorization.ts';
import type { Authenticator } from '../../src/model/caller.ts';
import type { Service } from '../../src/model/service.ts';
import type { Workload } from '../../src/model/workload.ts';
import { CertificateAuthority } from '../../src/pki/index.ts';
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  addDiscoveryService,
  addressSubscription,
  authorizationResource,
  authorizationSubscription,
  DiscoveryClient,
  type DiscoveryService,
  ResourceStore,
  serviceResource,
  tunnelNodeId,
  workloadResource,
} from '../../src/xds/index.ts';

const TOKEN = 'good-token';
const authenticator: Authenticator = {
  async authenticate({ token, clusterId }) {
    if (token !== TOKEN) return undefined;
    const account = { trustDomain: 'cluster.local', namespace: 'istio-system', serviceAccount: 'ztunnel' };
    return { ...account, podName: 'ztunnel-1', podUid: 'u1', clusterId };
  },
};

function workload(name: string, services: readonly string[] = []): Workload {
  return {
    uid: `Kubernetes//Pod/shop/${name}`,
    name,
    namespace: 'shop',
    addresses: ['10.0.0.1'],
    hostname: '',
    network: '',
    tunnelProtocol: 'HBONE',
    trustDomain: 'cluster.local',
    serviceAccount: name,
    waypoint: undefined,
    networkGateway: undefined,
    node: 'node2',
    canonicalName: name,
    canonicalRevision: 'latest',
    workloadType: 'POD',
    workloadName: name,
    nativeTunnel: false,
    applicationTunnel: undefined,
    services: new Map(services.map((key) => [key, new Map([[80, 8080]])])),
    authorizationPolicies: [],
    status: 'HEALTHY',
    clusterId: 'Kubernetes',
    locality: { region: '', zone: '', subzone: '' },
    networkMode: 'STANDARD',
    capacity: 1,
  };
}
const shop: Service = {
  name: 'cart',
  namespace: 'shop',
  hostname: 'cart.shop.svc.cluster.local',
  addresses: [{ network: '', range: { ip: '10.96.0.9', prefixLength: 32 } }],
  ports: [{ servicePort: 80, targetPort: 8080, appProtocol: 'UNKNOWN' }],
  subjectAltNames: [],
  waypoint: undefined,
  weightedWaypoints: [],
  loadBalancing: { mode: 'UNSPECIFIED', routingPreference: [], healthPolicy: 'ONLY_HEALTHY' },
  ipFamilies: 'AUTOMATIC',
  canonical: true,
  ingressUseWaypoint: false,
  visibility: 'PUBLIC',
};
const policy: Authorization = {
  name: 'deny-all',
  namespace: 'shop',
  scope: 'NAMESPACE',
  action: 'DENY',
  rules: [{ clauses: [] }],
  dryRun: false,
};

interface Control extends AsyncDisposable {
  readonly port: number;
  readonly store: ResourceStore;
  readonly authority: CertificateAuthority;
  readonly service: DiscoveryService;
  readonly server: GrpcServer;
}

async function startControl(
  parts: { store?: ResourceStore; authority?: CertificateAuthority; port?: number; host?: string } = {},
): Promise<Control> {
  const store = parts.store ?? (await ResourceStore.create());
  const options = { trustDomain: 'cluster.local', clock: systemClock };
  const authority = parts.authority ?? (await CertificateAuthority.ephemeral(options));
  const { key, certChainPem } = await authority.issueServer(['localhost'], ['127.0.0.1']);
  const grpc = createGrpcServer();
  const service = addDiscoveryService(grpc, { store, authenticator, clock: systemClock, log: silentLogger });
  const tls = { privateKeyPem: key.reveal(), certChainPem };
  const server = await startGrpcServer(grpc, { host: parts.host ?? '127.0.0.1', port: parts.port ?? 0, ...tls });
  return {
    port: server.port,
    store,
    authority,
    service,
    server,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

class Tunnel implements AsyncDisposable {
  readonly names = new Set<string>();
  readonly policies = new Set<string>();
  readonly ended: string[] = [];
  readonly client: DiscoveryClient;
  messages = 0;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(
    control: Control,
    overrides: {
      roots?: string;
      token?: string;
      namespace?: string;
      mode?: 'on-demand';
      host?: string;
      alternativeHostname?: string;
    } = {},
  ) {
    const namespace = overrides.namespace ?? 'istio-system';
    this.client = new DiscoveryClient({
      endpoint: {
        address: `https://${overrides.host ?? 'localhost'}:${control.port}`,
        ...(overrides.alternativeHostname !== undefined && { alternativeHostname: overrides.alternativeHostname }),
        roots: { text: overrides.roots ?? control.authority.rootsPem },
        token: overrides.token === '' ? undefined : { text: overrides.token ?? TOKEN },
        headers: { clusterid: 'Kubernetes' },
      },
      node: {
        id: tunnelNodeId({ ip: '127.0.0.1', pod: 'ztunnel-1', namespace }),
        metadata: { NAMESPACE: namespace, NODE_NAME: 'node1' },
      },
      subscriptions: [
        addressSubscription(overrides.mode ?? 'wildcard', ({ updated, removed }) => {
          for (const { name } of updated) this.names.add(name);
          for (const name of removed) this.names.delete(name);
        }),
        authorizationSubscription(({ updated, removed }) => {
          for (const { name } of updated) this.policies.add(name);
          for (const name of removed) this.policies.delete(name);
        }),
      ],
      clock: systemClock,
      log: silentLogger,
      onTermination: (reason) => this.ended.push(reason),
      onMessage: () => {
        this.messages += 1;
      },
    });
    this.#running = this.client.run(this.#stop.signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

async function until(t: ExecutionContext, what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadline) return void t.fail(`not in time: ${what}`);
    await systemClock.sleep(5);
  }
  t.pass();
}

test('a client gets everything, then changes, then removals', async (t) => {
  await using control = await startControl();
  const { store } = control;
  store.set(ADDRESS_TYPE, workloadResource(workload('a')));
  store.set(AUTHORIZATION_TYPE, authorizationResource(policy));
  store.commit();
  await using tunnel = new Tunnel(control);
  await tunnel.client.ready;
  t.deepEqual([...tunnel.names], ['Kubernetes//Pod/shop/a']);
  t.deepEqual([...tunnel.policies], ['shop/deny-all']);
  store.set(ADDRESS_TYPE, serviceResource(shop));
  store.commit();
  await until(t, 'the service', () => tunnel.names.has('shop/cart.shop.svc.cluster.local'));
  store.delete(ADDRESS_TYPE, 'Kubernetes//Pod/shop/a');
  store.delete(AUTHORIZATION_TYPE, 'shop/deny-all');
  store.commit();
  await until(t, 'the removals', () => tunnel.names.size === 1 && tunnel.policies.size === 0);
  await until(t, 'the acknowledgement', () =>
    control.service.subscribers().every((s) => s.types.every((type) => type.syncedGeneration === store.generation)),
  );
  const [subscriber] = control.service.subscribers();
  t.is(subscriber?.node.nodeName, 'node1');
  t.deepEqual(tunnel.ended, []);
});

test('an empty control plane makes its client ready', async (t) => {
  await using control = await startControl();
  await using tunnel = new Tunnel(control);
  await tunnel.client.ready;
  t.is(tunnel.names.size, 0);
});

test('a restarted server finds its client with what it had, and sends only what differs', async (t) => {
  const first = await startControl();
  first.store.set(ADDRESS_TYPE, workloadResource(workload('a')));
  first.store.set(ADDRESS_TYPE, workloadResource(workload('b')));
  first.store.commit();
  await using tunnel = new Tunnel(first);
  await tunnel.client.ready;
  const before = tunnel.messages;
  await first[Symbol.asyncDispose]();
  t.is(tunnel.names.size, 2);
  const store = await ResourceStore.create();
  store.set(ADDRESS_TYPE, workloadResource(workload('a')));
  store.set(ADDRESS_TYPE, workloadResource(workload('c')));
  store.commit();
  await using second = await startControl({ store, authority: first.authority, port: first.port });
  await until(t, 'the new state', () => tunnel.names.has('Kubernetes//Pod/shop/c'));
  t.deepEqual([...tunnel.names].sort(), ['Kubernetes//Pod/shop/a', 'Kubernetes//Pod/shop/c']);
  t.true(tunnel.messages > before);
  t.is(second.service.subscribers().length, 1);
});

test('a connection that breaks at any moment costs nothing but time', async (t) => {
  await using control = await startControl();
  const cuts = new Set<Socket>();
  const relay = createServer((down) => {
    const up = connect(control.port, '127.0.0.1');
    for (const socket of [down, up]) {
      cuts.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => cuts.delete(socket));
    }
    down.pipe(up).pipe(down);
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  t.teardown(() => relay.close());
  const address = relay.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  await using tunnel = new Tunnel({ ...control, port });
  await tunnel.client.ready;
  for (let i = 0; i < 5; i += 1) {
    for (const socket of cuts) socket.resetAndDestroy();
    control.store.set(ADDRESS_TYPE, workloadResource(workload(`w${i}`)));
    control.store.delete(ADDRESS_TYPE, `Kubernetes//Pod/shop/w${i - 1}`);
    control.store.commit();
    await until(t, `change ${i}`, () => tunnel.names.has(`Kubernetes//Pod/shop/w${i}`) && tunnel.names.size === 1);
  }
  t.true(tunnel.ended.length >= 5);
});

test('a client on demand gets what it asks for, and hears of what there is not', async (t) => {
  await using control = await startControl();
  const { store } = control;
  store.set(ADDRESS_TYPE, serviceResource(shop));
  store.set(ADDRESS_TYPE, workloadResource(workload('a', ['shop/cart.shop.svc.cluster.local'])));
  store.set(ADDRESS_TYPE, workloadResource({ ...workload('other'), addresses: ['10.0.0.2'] }));
  store.commit();
  await using tunnel = new Tunnel(control, { mode: 'on-demand' });
  await tunnel.client.ready;
  t.is(tunnel.names.size, 0);
  const signal = AbortSignal.timeout(10_000);
  await tunnel.client.demand(ADDRESS_TYPE, '/10.96.0.9', signal);
  t.deepEqual([...tunnel.names].sort(), ['Kubernetes//Pod/shop/a', 'shop/cart.shop.svc.cluster.local']);
  await tunnel.client.demand(ADDRESS_TYPE, '/10.9.9.9', signal);
  t.is(tunnel.names.size, 2);
});

const isReady = test.macro(async (t: ExecutionContext, overrides: { host: string; alternativeHostname?: string }) => {
  await using control = await startControl({ host: overrides.host });
  await using tunnel = new Tunnel(control, overrides);
  await tunnel.client.ready;
  t.deepEqual(tunnel.ended, []);
});
test('a server is found by its IP address', isReady, { host: '127.0.0.1' });
test('a server may show the alternative name', isReady, { host: '127.0.0.2', alternativeHostname: 'localhost' });

const refused = test.macro(
  async (t: ExecutionContext, overrides: { host?: string; token?: string; namespace?: string } | 'wrong root') => {
    const host = typeof overrides === 'object' ? overrides.host : undefined;
    await using control = await startControl(host === undefined ? {} : { host });
    control.store.set(ADDRESS_TYPE, workloadResource(workload('a')));
    control.store.commit();
    const stranger = await CertificateAuthority.ephemeral({ trustDomain: 'cluster.local', clock: systemClock });
    await using tunnel = new Tunnel(control, overrides === 'wrong root' ? { roots: stranger.rootsPem } : overrides);
    await until(t, 'two failures', () => tunnel.ended.length >= 2);
    t.false(tunnel.client.isReady);
    t.is(tunnel.names.size, 0);
    t.is(control.service.subscribers().length, 0);
  },
);
test('control: a server of another root is not believed', refused, 'wrong root');
test('control: a server of another address is not believed', refused, { host: '127.0.0.2' });
test('control: a client without a token gets nothing', refused, { token: '' });
test('control: a client with a false token gets nothing', refused, { token: 'forged' });
test('control: a client that claims another namespace gets nothing', refused, { namespace: 'other' });

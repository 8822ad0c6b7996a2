import test from 'ava';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { gatewayAt, gatewayNamed, memberOf, service, vip, workload } from '../../test/support/mesh-objects.ts';
import { ILLEGAL_PORTS } from '../model/ports.ts';
import type { Service } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';
import { type OutboundPlan, planOutbound } from './outbound-plan.ts';
import { MeshState } from './state/mesh-state.ts';

const source = workload({ name: 'source', addresses: ['127.0.0.10', 'fd00::10'] });
const SOURCE_IP = '127.0.0.10';

function plan(objects: readonly (Workload | Service)[], ip: string, port: number, from = source): OutboundPlan {
  const state = new MeshState({ node: undefined, clock: new ManualClock() });
  const updates = [...objects, from].map((o) =>
    'uid' in o ? { kind: 'workload' as const, workload: o } : { kind: 'service' as const, service: o },
  );
  state.applyAddresses({ updates, removed: [] });
  const query = {
    source: from,
    sourceIp: from.addresses[0] ?? SOURCE_IP,
    destination: { ip, port },
    network: '',
    illegalPorts: ILLEGAL_PORTS,
  };
  return planOutbound(state, query, () => 0.5);
}

/** One line that says it all: protocol, dialled address, authority, expected identities. */
function text(p: OutboundPlan): string {
  if (p.kind === 'refuse') return `refuse: ${p.reason}`;
  if (p.kind === 'passthrough') return `tcp ${p.to.ip}:${p.to.port}`;
  const { address, port } = p.hop;
  const to = `${address.kind === 'ip' ? address.ip : `?${address.hostname}`}:${port}`;
  if (p.kind === 'tcp') return `tcp ${to}`;
  const authority = 'text' in p.authority ? p.authority.text : `*:${p.authority.hopPort}`;
  const names = p.expectedIdentities.map((id) => id.replace('spiffe://cluster.local/ns/default/sa/', '')).join('+');
  const inner = p.kind === 'double-hbone' ? ` inner ${p.innerExpectedIdentities.join('+')}` : '';
  return `${p.kind} ${to} ${authority} ${names}${inner}`;
}

const goes = test.macro(
  (t, objects: readonly (Workload | Service)[], to: readonly [string, number], expected: string) => {
    t.is(text(plan(objects, ...to)), expected);
  },
);

const at = (name: string, ip: string, fields: Partial<Workload> = {}): Workload =>
  workload({ name, addresses: [ip], ...fields });
const SVC = 'default/svc.default.svc.cluster.local';
const HOST = 'svc.default.svc.cluster.local';
const svc = (fields: Parameters<typeof service>[0] | Record<string, never> = {}): Service =>
  service({ addresses: [vip('127.0.0.3')], ...fields, name: 'svc' });
const ep = (name: string, ip: string, ports: Record<number, number> = {}, fields: Partial<Workload> = {}): Workload =>
  at(name, ip, { services: memberOf({ [SVC]: ports }), ...fields });
const plain = { tunnelProtocol: 'NONE' as const };

test('an unknown destination passes through', goes, [], ['1.2.3.4', 80], 'tcp 1.2.3.4:80');
test('a known plain workload', goes, [at('a', '127.0.0.2', plain)], ['127.0.0.2', 80], 'tcp 127.0.0.2:80');
test('a known HBONE workload', goes, [at('a', '127.0.0.2')], ['127.0.0.2', 80], 'hbone 127.0.0.2:15008 *:80 a');
test(
  'the node makes no difference',
  goes,
  [at('a', '127.0.0.2', { node: 'n2' })],
  ['127.0.0.2', 80],
  'hbone 127.0.0.2:15008 *:80 a',
);
test(
  'loopback to an illegal port is refused',
  goes,
  [],
  ['127.0.0.1', 15_001],
  'refuse: attempted recursive call to ourselves',
);
test('an illegal port elsewhere is not', goes, [], ['10.0.0.1', 15_001], 'tcp 10.0.0.1:15001');
test("the source's own waypoint is not used", (t) => {
  const from = { ...source, waypoint: gatewayAt('127.0.0.9') };
  t.is(text(plan([at('a', '127.0.0.2')], '127.0.0.2', 80, from)), 'hbone 127.0.0.2:15008 *:80 a');
});
test(
  'the waypoint of a workload',
  goes,
  [at('a', '127.0.0.2', { waypoint: gatewayAt('127.0.0.9') }), at('wp', '127.0.0.9')],
  ['127.0.0.2', 80],
  'hbone 127.0.0.9:15008 127.0.0.2:80 wp',
);
test(
  'a waypoint of another family',
  goes,
  [workload({ name: 'a', addresses: ['fd00::2'], waypoint: gatewayAt('127.0.0.9') }), at('wp', '127.0.0.9')],
  ['fd00::2', 80],
  'hbone 127.0.0.9:15008 [fd00::2]:80 wp',
);
test(
  'a waypoint that is not known',
  goes,
  [at('a', '127.0.0.2', { waypoint: gatewayNamed('default', 'wp.example') })],
  ['127.0.0.2', 80],
  'refuse: unknown waypoint: waypoint GatewayAddress { destination: Hostname(NamespacedHostname { namespace: "default", hostname: "wp.example" }), hbone_mtls_port: 15008 } not found',
);
test('the waypoint itself goes to the workload', (t) => {
  const from = workload({ name: 'wp', addresses: ['127.0.0.9'] });
  const objects = [at('a', '127.0.0.2', { waypoint: gatewayAt('127.0.0.9') })];
  t.is(text(plan(objects, '127.0.0.2', 80, from)), 'hbone 127.0.0.2:15008 *:80 a');
});
test('a pod with the identity of the waypoint and another address does not', (t) => {
  const from = workload({ name: 'wp', uid: 'other', addresses: ['127.0.0.8'] });
  const objects = [at('a', '127.0.0.2', { waypoint: gatewayAt('127.0.0.9') }), at('wp', '127.0.0.9')];
  t.is(text(plan(objects, '127.0.0.2', 80, from)), 'hbone 127.0.0.9:15008 127.0.0.2:80 wp');
});

test('a service', goes, [svc(), ep('a', '127.0.0.2')], ['127.0.0.3', 80], 'hbone 127.0.0.2:15008 *:8080 a');
test(
  'a service with a plain endpoint',
  goes,
  [svc(), ep('a', '127.0.0.2', {}, plain)],
  ['127.0.0.3', 80],
  'tcp 127.0.0.2:8080',
);
test(
  "the endpoint's own port wins",
  goes,
  [svc(), ep('a', '127.0.0.2', { 80: 9090 })],
  ['127.0.0.3', 80],
  'hbone 127.0.0.2:15008 *:9090 a',
);
test(
  'a named port takes only endpoints that have it',
  goes,
  [svc({ ports: { 80: 0 } } as never), ep('a', '127.0.0.2'), ep('b', '127.0.0.4', { 80: 7070 })],
  ['127.0.0.3', 80],
  'hbone 127.0.0.4:15008 *:7070 b',
);
test(
  'a port the service lacks',
  goes,
  [svc(), ep('a', '127.0.0.2')],
  ['127.0.0.3', 81],
  'refuse: no healthy upstream: 127.0.0.3:81',
);
test('a service without endpoints', goes, [svc()], ['127.0.0.3', 80], 'refuse: no healthy upstream: 127.0.0.3:80');
test(
  'an unhealthy endpoint is none',
  goes,
  [svc(), ep('a', '127.0.0.2', {}, { status: 'UNHEALTHY' })],
  ['127.0.0.3', 80],
  'refuse: no healthy upstream: 127.0.0.3:80',
);
test(
  'capacity 0 takes nothing',
  goes,
  [svc(), ep('a', '127.0.0.2', {}, { capacity: 0 })],
  ['127.0.0.3', 80],
  'refuse: no healthy upstream: 127.0.0.3:80',
);
test(
  'extra identities of the service are accepted',
  goes,
  [svc({ subjectAltNames: ['spiffe://x/ns/y/sa/z', 'a.dns.name'] } as never), ep('a', '127.0.0.2')],
  ['127.0.0.3', 80],
  'hbone 127.0.0.2:15008 *:8080 a+spiffe://x/ns/y/sa/z',
);
test(
  'a service waypoint gets the untranslated destination',
  goes,
  [svc({ waypoint: gatewayAt('127.0.0.9') } as never), ep('a', '127.0.0.2'), at('wp', '127.0.0.9')],
  ['127.0.0.3', 80],
  'hbone 127.0.0.9:15008 127.0.0.3:80 wp',
);
test(
  'a waypoint service given by name',
  goes,
  [
    svc({ waypoint: gatewayNamed('default', 'wp.example') } as never),
    service({ name: 'wp', hostname: 'wp.example', ports: { 15008: 15009 } }),
    at('wp', '127.0.0.9', { services: memberOf({ 'default/wp.example': {} }) }),
  ],
  ['127.0.0.3', 80],
  'hbone 127.0.0.9:15009 127.0.0.3:80 wp',
);
test(
  'a workload waypoint is not used for a service',
  goes,
  [svc(), ep('a', '127.0.0.2', {}, { waypoint: gatewayAt('127.0.0.9') }), at('wp', '127.0.0.9')],
  ['127.0.0.3', 80],
  'hbone 127.0.0.2:15008 *:8080 a',
);
test(
  'a service waypoint is not used for a pod',
  goes,
  [svc({ waypoint: gatewayAt('127.0.0.9') } as never), ep('a', '127.0.0.2'), at('wp', '127.0.0.9')],
  ['127.0.0.2', 80],
  'hbone 127.0.0.2:15008 *:80 a',
);
const passthrough = {
  loadBalancing: { mode: 'PASSTHROUGH', routingPreference: [], healthPolicy: 'ALLOW_ALL' },
} as never;
test(
  'a PASSTHROUGH service keeps its destination',
  goes,
  [svc(passthrough), ep('a', '127.0.0.2')],
  ['127.0.0.3', 80],
  'tcp 127.0.0.3:80',
);
test(
  'a block of VIPs that is PASSTHROUGH',
  goes,
  [service({ name: 'svc', addresses: [vip('127.1.0.0', 16)], ...(passthrough as object) })],
  ['127.1.2.3', 80],
  'tcp 127.1.2.3:80',
);
test(
  'a PASSTHROUGH service still uses its waypoint',
  goes,
  [svc({ ...(passthrough as object), waypoint: gatewayAt('127.0.0.9') } as never), at('wp', '127.0.0.9')],
  ['127.0.0.3', 80],
  'hbone 127.0.0.9:15008 127.0.0.3:80 wp',
);
test(
  'a pod on the host network behind a service',
  goes,
  [svc(), ep('a', '127.0.0.2', {}, { networkMode: 'HOST_NETWORK', ...plain })],
  ['127.0.0.3', 80],
  'tcp 127.0.0.2:8080',
);
test(
  'an address of a node is not a pod',
  goes,
  [at('a', '127.0.0.2', { networkMode: 'HOST_NETWORK' })],
  ['127.0.0.2', 80],
  'tcp 127.0.0.2:80',
);

const dual = (fields = {}) => ep('a', '127.0.0.2', {}, { addresses: ['127.0.0.2', 'fd00::2'], ...fields });
test('the address asked for is the one used', goes, [dual()], ['fd00::2', 80], 'hbone fd00::2:15008 *:80 a');
const dualVip = { addresses: [vip('127.0.0.3'), vip('fd00::3')] };
test(
  'the family of the VIP is preferred',
  goes,
  [svc(dualVip as never), dual()],
  ['fd00::3', 80],
  'hbone fd00::2:15008 *:8080 a',
);
test(
  'the families of the service restrict',
  goes,
  [svc({ ...dualVip, ipFamilies: 'IPV4_ONLY' } as never), dual()],
  ['fd00::3', 80],
  'hbone 127.0.0.2:15008 *:8080 a',
);
test(
  'a workload with a host name only is resolved',
  goes,
  [svc(), ep('a', '', {}, { addresses: [], hostname: 'a.example', ...plain })],
  ['127.0.0.3', 80],
  'tcp ?a.example:8080',
);

const far = (fields: Partial<Workload> = {}): Workload =>
  ep(
    'far',
    '',
    {},
    { addresses: [], network: 'remote', networkGateway: gatewayAt('10.22.1.1', 15_009, 'remote'), ...fields },
  );
const gw = workload({ name: 'gw', addresses: ['10.22.1.1'], network: 'remote' });
const sans = { subjectAltNames: ['spiffe://cluster.local/ns/default/sa/far'] } as never;
test(
  'an endpoint of another network goes through its gateway',
  goes,
  [svc(sans), far(), gw],
  ['127.0.0.3', 80],
  `double-hbone 10.22.1.1:15009 ${HOST}:80 gw inner spiffe://cluster.local/ns/default/sa/far`,
);
test(
  'a gateway given by name has its port mapped',
  goes,
  [
    svc(),
    far({ networkGateway: gatewayNamed('default', 'gw.example', 15_009) }),
    service({ name: 'gw', hostname: 'gw.example', ports: { 15009: 15008 } }),
    { ...gw, services: memberOf({ 'default/gw.example': {} }) },
  ],
  ['127.0.0.3', 80],
  `double-hbone 10.22.1.1:15008 ${HOST}:80 gw inner `,
);
test(
  'a waypoint of another network goes through its gateway',
  goes,
  [
    svc({ waypoint: gatewayNamed('default', 'wp.example') } as never),
    service({ name: 'wp', hostname: 'wp.example', ports: { 15008: 15008 } }),
    far({ services: memberOf({ 'default/wp.example': {} }) }),
    gw,
  ],
  ['127.0.0.3', 80],
  `double-hbone 10.22.1.1:15009 ${HOST}:80 gw inner `,
);
test(
  'another network without gateway cannot be reached',
  goes,
  [svc(), ep('b', '10.9.9.9', {}, { network: 'remote' })],
  ['127.0.0.3', 80],
  'refuse: no valid routing destination for workload: b',
);
test(
  'a gateway that is not known',
  goes,
  [svc(), far()],
  ['127.0.0.3', 80],
  'refuse: unknown network gateway: network gateway GatewayAddress { destination: Address(NetworkAddress { network: "remote", address: 10.22.1.1 }), hbone_mtls_port: 15009 } not found',
);
const failover = {
  loadBalancing: { mode: 'FAILOVER', routingPreference: ['NETWORK'], healthPolicy: 'ONLY_HEALTHY' },
} as never;
test(
  'a healthy local endpoint beats a remote one',
  goes,
  [svc(failover), far(), gw, ep('a', '127.0.0.2')],
  ['127.0.0.3', 80],
  'hbone 127.0.0.2:15008 *:8080 a',
);
test(
  'without a healthy local endpoint the remote one serves',
  goes,
  [svc(failover), far(), gw, ep('a', '127.0.0.2', {}, { status: 'UNHEALTHY' })],
  ['127.0.0.3', 80],
  `double-hbone 10.22.1.1:15009 ${HOST}:80 gw inner `,
);
test(
  'a private service of another namespace is not a service for this client',
  goes,
  [
    service({
      name: 'svc',
      namespace: 'other',
      addresses: [vip('127.0.0.3')],
      visibility: 'NAMESPACE',
      waypoint: gatewayAt('127.0.0.9'),
    }),
    at('wp', '127.0.0.9'),
  ],
  ['127.0.0.3', 80],
  'tcp 127.0.0.3:80',
);

import test from 'ava';
import fc from 'fast-check';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { gatewayAt, gatewayNamed, memberOf, service, vip, workload } from '../../test/support/mesh-objects.ts';
import { formatIpPort } from '../model/ip.ts';
import { ILLEGAL_PORTS } from '../model/ports.ts';
import type { Service } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';
import { guessService, parseAuthority, planInbound } from './inbound-plan.ts';
import { MeshState } from './state/mesh-state.ts';

const SVC = 'default/svc.default.svc.cluster.local';
const HOST = 'svc.default.svc.cluster.local';
type Reference =
  | 'none'
  | 'workload by ip'
  | 'workload by name'
  | 'service by ip'
  | 'service by name'
  | 'service by weight';
const byIp = gatewayAt('10.0.0.2');
const byName = gatewayNamed('default', 'wp.default.svc.cluster.local');

function mesh(
  reference: Reference,
  tunnel: Workload['applicationTunnel'],
  svcFields: Partial<Service> = {},
): MeshState {
  const onWorkload = reference === 'workload by ip' ? byIp : reference === 'workload by name' ? byName : undefined;
  const onService = reference === 'service by ip' ? byIp : reference === 'service by name' ? byName : undefined;
  const weightedWaypoints = reference === 'service by weight' ? [{ destination: byName, weight: 0 }] : [];
  const workloads = [
    workload({
      name: 'server',
      addresses: ['10.0.0.1'],
      waypoint: onWorkload,
      services: memberOf({ [SVC]: { 80: 8080 } }),
    }),
    workload({
      name: 'wp',
      addresses: ['10.0.0.2'],
      applicationTunnel: tunnel,
      services: memberOf({ 'default/wp.default.svc.cluster.local': { 15008: 15008 } }),
    }),
    workload({ name: 'client', addresses: ['10.0.0.3'] }),
  ];
  const named = service({ name: 'svc', addresses: [vip('10.10.0.1')], waypoint: onService, weightedWaypoints });
  const services = [
    { ...named, ...svcFields },
    service({ name: 'wp', addresses: [vip('10.10.0.2')], ports: { 15008: 15008 } }),
    service({ name: 'named', ports: { 80: 0 } }),
  ];
  const state = new MeshState({ node: undefined, clock: new ManualClock() });
  state.applyAddresses({
    updates: [
      ...workloads.map((value) => ({ kind: 'workload' as const, workload: value })),
      ...services.map((value) => ({ kind: 'service' as const, service: value })),
    ],
    removed: [],
  });
  return state;
}

interface Case {
  readonly to: 'server' | 'wp';
  readonly authority: string;
  readonly reference?: Reference;
  readonly tunnel?: Workload['applicationTunnel'];
  readonly service?: Partial<Service>;
}

const reaches = test.macro(
  (t, { to, authority, reference = 'none', tunnel, service: fields }: Case, expected: string) => {
    const state = mesh(reference, tunnel, fields);
    const local = state.findWorkload(`cluster1//Pod/default/${to}`);
    const parsed = parseAuthority(authority);
    if (!local || !parsed) return t.fail();
    const localIp = local.addresses[0] ?? '';
    const plan = planInbound(state, { authority: parsed, local, localIp, network: '', illegalPorts: ILLEGAL_PORTS });
    const text =
      plan.kind === 'refuse'
        ? `${plan.status} ${plan.reason}`
        : formatIpPort(plan.upstream) + (plan.announce ? ` for ${formatIpPort(plan.announce)}` : '');
    t.is(text, expected);
  },
);
const PROXY = { protocol: 'PROXY', port: 15_088 } as const;

test('the pod itself', reaches, { to: 'server', authority: '10.0.0.1:8080' }, '10.0.0.1:8080');
test('a service name', reaches, { to: 'server', authority: `${HOST}:80` }, '10.0.0.1:8080');
test(
  'an unknown name',
  reaches,
  { to: 'server', authority: 'no.such:80' },
  '503 no service or workload for hostname: no.such',
);
test(
  'a port the service lacks',
  reaches,
  { to: 'server', authority: `${HOST}:81` },
  `503 requested service ${HOST}:81 found, but cannot resolve port`,
);
test(
  'a named port this pod lacks',
  reaches,
  { to: 'server', authority: 'named.default.svc.cluster.local:80' },
  '503 requested service named.default.svc.cluster.local:80 found, but cannot resolve port',
);
test(
  'workload waypoint by address',
  reaches,
  { to: 'wp', authority: '10.0.0.1:8080', reference: 'workload by ip' },
  '10.0.0.2:8080',
);
test(
  'workload waypoint by name',
  reaches,
  { to: 'wp', authority: '10.0.0.1:8080', reference: 'workload by name' },
  '10.0.0.2:8080',
);
test(
  'workload waypoint with application tunnel',
  reaches,
  { to: 'wp', authority: '10.0.0.1:8080', reference: 'workload by ip', tunnel: PROXY },
  '10.0.0.2:15088 for 10.0.0.1:8080',
);
test(
  'service waypoint by address',
  reaches,
  { to: 'wp', authority: '10.10.0.1:8080', reference: 'service by ip' },
  '10.0.0.2:8080',
);
test(
  'service waypoint by name',
  reaches,
  { to: 'wp', authority: '10.10.0.1:8080', reference: 'service by name' },
  '10.0.0.2:8080',
);
test(
  'service waypoint of weight 0',
  reaches,
  { to: 'wp', authority: '10.10.0.1:8080', reference: 'service by weight' },
  '10.0.0.2:8080',
);
test(
  'service waypoint with application tunnel',
  reaches,
  { to: 'wp', authority: '10.10.0.1:80', reference: 'service by ip', tunnel: PROXY },
  '10.0.0.2:15088 for 10.10.0.1:80',
);
test(
  'application tunnel for a service name',
  reaches,
  { to: 'wp', authority: `${HOST}:80`, tunnel: PROXY },
  '10.0.0.2:15088 for 10.10.0.1:80',
);
test(
  'application tunnel for a service without VIP',
  reaches,
  { to: 'wp', authority: `${HOST}:80`, tunnel: PROXY, service: { addresses: [] } },
  `503 requested service ${HOST} found, but has no IP addresses`,
);
test(
  'application tunnel without PROXY',
  reaches,
  { to: 'wp', authority: '10.0.0.9:80', tunnel: { protocol: 'NONE', port: 0 } },
  '10.0.0.2:80',
);
test('another pod', reaches, { to: 'server', authority: '10.0.0.3:8080' }, '400 ip mismatch: 10.0.0.1 != 10.0.0.3');
test(
  'a pod without waypoint',
  reaches,
  { to: 'wp', authority: '10.0.0.3:8080' },
  '400 ip mismatch: 10.0.0.2 != 10.0.0.3',
);
test(
  'a service waypoint asked for the pod',
  reaches,
  { to: 'wp', authority: '10.0.0.1:8080', reference: 'service by ip' },
  '400 ip mismatch: 10.0.0.2 != 10.0.0.1',
);
test(
  'a workload waypoint asked for the service',
  reaches,
  { to: 'wp', authority: '10.10.0.1:80', reference: 'workload by ip' },
  '400 ip mismatch: 10.0.0.2 != 10.10.0.1',
);
test('loopback', reaches, { to: 'server', authority: '127.0.0.1:8080' }, '400 ip mismatch: 10.0.0.1 != 127.0.0.1');
for (const port of ILLEGAL_PORTS) {
  test(
    `illegal port ${port}`,
    reaches,
    { to: 'server', authority: `10.0.0.1:${port}` },
    '503 attempted recursive call to ourselves',
  );
}
test(
  'an illegal port is judged before the application tunnel',
  reaches,
  { to: 'wp', authority: '10.0.0.1:15008', tunnel: PROXY },
  '503 attempted recursive call to ourselves',
);

test('authorities', (t) => {
  t.deepEqual(parseAuthority('10.0.0.1:80'), { kind: 'ip', ip: '10.0.0.1', port: 80 });
  t.deepEqual(parseAuthority('[fd00::1]:80'), { kind: 'ip', ip: 'fd00::1', port: 80 });
  t.deepEqual(parseAuthority('a.b:80'), { kind: 'hostname', host: 'a.b', port: 80 });
  for (const bad of [
    '',
    'a',
    'a:',
    ':80',
    'a:b',
    'a:70000',
    '10.0.0:80',
    '10.0.0.256:80',
    'a b:80',
    'a:80:90',
    'fd00::1:80',
    'user@a:80',
    '-a:80',
    `${'a'.repeat(300)}:80`,
  ]) {
    t.is(parseAuthority(bad), undefined, bad);
  }
});

test('no authority crashes the parser, and what it accepts is whole', (t) => {
  fc.assert(
    fc.property(fc.string({ maxLength: 300 }), (text) => {
      const found = parseAuthority(text);
      t.pass();
      if (found) t.true(text.endsWith(`:${text.slice(text.lastIndexOf(':') + 1)}`) && found.port <= 65_535);
    }),
  );
});

test('the service label is the announced host, else the first with the port', (t) => {
  const state = mesh('none', undefined);
  const server = state.findWorkload('cluster1//Pod/default/server');
  if (!server) return t.fail();
  t.is(guessService(state, server, { forwardedHost: HOST, port: 1 })?.hostname, HOST);
  t.is(guessService(state, server, { forwardedHost: 'other', port: 8080 })?.hostname, HOST);
  t.is(guessService(state, server, { forwardedHost: undefined, port: 1 }), undefined);
});

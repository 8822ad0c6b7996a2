/** Whole tunnels in real namespaces: what applications and the wire see. */
import { randomBytes } from 'node:crypto';
import test from 'ava';
import { parseZtunnelConfig } from '../../src/cli/ztunnel-config.ts';
import { errnoName } from '../../src/core/errors.ts';
import { memberOf, policy, service, vip } from '../support/mesh-objects.ts';
import { call, connectApp, eventually, exchange, serveEcho } from './apps.ts';
import { Mesh } from './mesh.ts';
import { Wire } from './wire.ts';

const KEY = 'default/server.default.svc.cluster.local';
const VIP = { ip: '10.96.0.1', port: 80 };
const VIP6 = { ip: 'fd96::1', port: 80 };
const serverService = service({ name: 'server', addresses: [vip(VIP.ip), vip(VIP6.ip)], ports: { 80: 8080 } });
const asEndpoint = { services: memberOf({ [KEY]: { 80: 8080 } }) };

/** Between tunnels on the wire: whether the marker showed in clear. */
const carries = test.macro(
  async (
    t,
    options: {
      readonly to: 'vip' | 'vip6' | 'pod' | 'pod6';
      readonly sameNode?: boolean;
      readonly alwaysEncrypt?: boolean;
      readonly meshed?: boolean;
    },
  ) => {
    const { to, sameNode = false, alwaysEncrypt = false, meshed = true } = options;
    const joined = sameNode && !alwaysEncrypt;
    await using mesh = await Mesh.start({ alwaysEncrypt });
    mesh.update(serverService);
    const client = await mesh.pod('client', { meshed });
    const server = await mesh.pod('server', { node: sameNode ? 'a' : 'b', meshed, fields: asEndpoint });
    using echo = serveEcho(server.netns);
    await using wire = await Wire.listen(mesh.fabric);
    const marker = `marker-${randomBytes(8).toString('hex')}`;
    const isV6 = to.endsWith('6');
    const address = { vip: VIP, vip6: VIP6, pod: { ip: server.ip4, port: 8080 }, pod6: { ip: server.ip6, port: 8080 } }[
      to
    ];
    t.is((await call(client.netns, address, marker)).toString(), marker);
    t.deepEqual(echo.peers, [isV6 ? client.ip6 : client.ip4]);
    if (!joined) await eventually('packets are written', () => wire.showsPort(meshed ? 15_008 : 8080));
    t.is(wire.shows(marker), !meshed);
    t.is(wire.showsPort(15_008), meshed && !joined);
    t.is(wire.showsPort(8080), !meshed);
    if (!meshed) return;
    const source = await eventually(
      'source log',
      () => mesh.lines('a', 'connection complete', 'direction="outbound"')[0],
    );
    const destination = await eventually(
      'destination log',
      () => mesh.lines(sameNode ? 'a' : 'b', 'connection complete', 'direction="inbound"')[0],
    );
    for (const line of [source, destination]) {
      t.regex(line, /^[\d-]+T[\d:.]+Z\tinfo\taccess\tconnection complete\tsrc\.addr=\S+ src\.workload="client"/);
      t.true(line.includes('src.identity="spiffe://cluster.local/ns/default/sa/client"'));
      t.true(line.includes('dst.identity="spiffe://cluster.local/ns/default/sa/server"'));
      t.true(line.includes(':15008 dst.hbone_addr='));
      t.true(line.includes(`bytes_sent=${marker.length} bytes_recv=${marker.length}`), line);
      t.is(line.includes(' security=none'), joined, 'what is not encrypted is not called so');
    }
    const metrics = await mesh.metrics('a');
    t.is(metrics.includes('connection_security_policy="none"'), joined);
    t.is(metrics.includes('connection_security_policy="mutual_tls"'), !joined);
    const series = (name: string): number =>
      Number(new RegExp(`^${name}\\{reporter="source".*response_flags="-".*\\} (\\d+)$`, 'm').exec(metrics)?.[1]);
    t.is(series('istio_tcp_connections_opened_total'), 1);
    t.is(series('istio_tcp_connections_closed_total'), 1);
    t.is(series('istio_tcp_received_bytes_total'), marker.length);
    t.is(series('istio_tcp_sent_bytes_total'), marker.length);
  },
);
test('a service is reached over HBONE, with the address of the client', carries, { to: 'vip' });
test('over IPv6', carries, { to: 'vip6' });
test('a pod is reached over HBONE', carries, { to: 'pod' });
test('a pod is reached over HBONE and IPv6', carries, { to: 'pod6' });
test('on one node it is joined there, and said not to be encrypted', carries, { to: 'vip', sameNode: true });
test('on one node as well when all is to be encrypted', carries, { to: 'vip', sameNode: true, alwaysEncrypt: true });
test('control: without the mesh everything is in clear', carries, { to: 'pod', meshed: false });

test('megabytes arrive exact both ways', async (t) => {
  await using mesh = await Mesh.start();
  mesh.update(serverService);
  const client = await mesh.pod('client');
  const server = await mesh.pod('server', { node: 'b', fields: asEndpoint });
  using _echo = serveEcho(server.netns);
  const data = randomBytes(5 * 1024 * 1024);
  t.true(data.equals(await call(client.netns, VIP, data)));
});

test('a meshed client reaches a plain server in clear, and what is unknown passes through', async (t) => {
  await using mesh = await Mesh.start();
  const client = await mesh.pod('client');
  const server = await mesh.pod('server', { node: 'b', meshed: false });
  const outside = await mesh.fabric.add();
  using _echo = serveEcho(server.netns);
  using _far = serveEcho(outside.netns);
  t.is((await call(client.netns, { ip: server.ip4, port: 8080 }, 'hi')).toString(), 'hi');
  t.is((await call(client.netns, { ip: outside.ip4, port: 8080 }, 'ho')).toString(), 'ho');
  const known = await eventually('log', () => mesh.lines('a', `dst.addr=${server.ip4}:8080`)[0]);
  t.true(known.includes('dst.workload="server"') && !known.includes('identity'));
  const unknown = await eventually('log', () => mesh.lines('a', `dst.addr=${outside.ip4}:8080`)[0]);
  t.false(unknown.includes('dst.workload'));
});

const plainToMeshed = test.macro(async (t, strict: boolean) => {
  await using mesh = await Mesh.start();
  const client = await mesh.pod('client', { meshed: false });
  const server = await mesh.pod('server', {
    node: 'b',
    fields: { authorizationPolicies: strict ? ['istio-system/strict'] : [] },
  });
  mesh.policies([STRICT]);
  using echo = serveEcho(server.netns);
  const answer = (await call(client.netns, { ip: server.ip4, port: 8080 }, 'hi')).toString();
  t.is(answer, strict ? '' : 'hi');
  t.deepEqual(echo.peers, strict ? [] : [client.ip4]);
  const line = await eventually('log', () => mesh.lines('b', 'connection complete', 'direction="inbound"')[0]);
  t.false(line.includes('src.identity'));
  t.is(
    line.includes('error="connection closed due to policy rejection: explicitly denied by: istio-system/strict"'),
    strict,
  );
});
const STRICT = policy({
  name: 'strict',
  namespace: 'istio-system',
  scope: 'WORKLOAD_SELECTOR',
  action: 'DENY',
  rules: [{ clauses: [{ matches: [{ ...policyMatch(), notPrincipals: [{ kind: 'presence' }] }] }] }],
});
test('STRICT refuses plaintext', plainToMeshed, true);
test('control: a policy that the workload does not list lets plaintext pass', plainToMeshed, false);

test('an ALLOW policy refuses others with its reason in the log, and lifting it restores the call', async (t) => {
  await using mesh = await Mesh.start();
  mesh.update(serverService);
  const client = await mesh.pod('client');
  const server = await mesh.pod('server', { node: 'b', fields: asEndpoint });
  using echo = serveEcho(server.netns);
  mesh.policies([allowOnly('somebody')]);
  t.is((await call(client.netns, VIP, 'hi')).toString(), '');
  t.deepEqual(echo.peers, []);
  await eventually(
    'log of the server side',
    () =>
      mesh.lines('b', 'error="connection closed due to policy rejection: allow policies exist, but none allowed"')[0],
  );
  await eventually('log of the client side', () => mesh.lines('a', 'error="http status: 401 Unauthorized"')[0]);
  t.regex(await mesh.metrics('b'), /istio_tcp_connections_failed_total\{.*response_flags="DENY".*\} 1/);
  mesh.policies([allowOnly('client')]);
  t.is((await call(client.netns, VIP, 'hi')).toString(), 'hi');
  mesh.policies([allowOnly('somebody')]);
  mesh.policies([], ['default/only']);
  t.is((await call(client.netns, VIP, 'hi')).toString(), 'hi');
});

test('a new connection waits for a listed policy that is on its way, and is judged by it', async (t) => {
  await using mesh = await Mesh.start();
  const client = await mesh.pod('client');
  const listed = { authorizationPolicies: ['default/one', 'default/two'] };
  const server = await mesh.pod('server', { node: 'b', fields: listed });
  using _echo = serveEcho(server.netns);
  const socket = await connectApp(client.netns, { ip: server.ip4, port: 8080 });
  const answer = exchange(socket, 'hi');
  mesh.policies([policy({ name: 'one', scope: 'WORKLOAD_SELECTOR' })]);
  t.is(mesh.lines('b', 'listed policy is unknown').length, 0);
  mesh.policies([policy({ name: 'two', scope: 'WORKLOAD_SELECTOR' })]);
  t.is(await answer, 'hi');
  t.is(mesh.lines('b', 'listed policy is unknown').length, 0);
});

test('a policy that is listed but unknown denies', async (t) => {
  await using mesh = await Mesh.start();
  const client = await mesh.pod('client');
  const server = await mesh.pod('server', { node: 'b', fields: { authorizationPolicies: ['default/later'] } });
  using _echo = serveEcho(server.netns);
  const to = { ip: server.ip4, port: 8080 };
  t.is((await call(client.netns, to, 'hi')).toString(), '');
  await eventually('log', () => mesh.lines('b', 'listed policy is unknown: default/later')[0]);
  mesh.policies([policy({ name: 'later', scope: 'WORKLOAD_SELECTOR' })]);
  t.is((await call(client.netns, to, 'hi')).toString(), 'hi');
});

test('an open connection that policy forbids now is cut; one that it allows goes on', async (t) => {
  await using mesh = await Mesh.start();
  mesh.update(serverService);
  const [client, friend] = [await mesh.pod('client'), await mesh.pod('friend')];
  const server = await mesh.pod('server', { node: 'b', fields: asEndpoint });
  using _echo = serveEcho(server.netns);
  const cut = await connectApp(client.netns, VIP);
  const kept = await connectApp(friend.netns, VIP);
  t.is(await exchange(cut, 'one'), 'one');
  t.is(await exchange(kept, 'one'), 'one');
  mesh.policies([allowOnly('client', 'friend')]);
  t.is(await exchange(cut, 'two'), 'two');
  mesh.policies([allowOnly('friend')]);
  await eventually('the client sees the end', () => cut.readableEnded || cut.destroyed || cut.closed);
  const line = await eventually('log', () => mesh.lines('b', 'connection closed due to policy change')[0]);
  t.true(line.includes('src.workload="client"') && line.includes('\terror\t'));
  t.regex(await mesh.metrics('b'), /istio_tcp_connections_failed_total\{.*response_flags="DENY".*\} 1/);
  t.is(await exchange(kept, 'three'), 'three');
  cut.destroy();
  kept.destroy();
});

test('after a delete the listeners are closed, open connections go on and end at the drain limit', async (t) => {
  await using mesh = await Mesh.start({ drainMs: 1_500 });
  mesh.update(serverService);
  const client = await mesh.pod('client');
  const server = await mesh.pod('server', { node: 'b', fields: asEndpoint });
  using _echo = serveEcho(server.netns);
  const open = await connectApp(client.netns, VIP);
  t.is(await exchange(open, 'before'), 'before');
  mesh.node('b').tunnel.pods.delete(server.uid);
  t.is(await exchange(open, 'after'), 'after');
  t.is((await call(client.netns, { ip: server.ip4, port: 8080 }, 'new')).toString(), '');
  await eventually('the drain limit ends it', () => open.readableEnded || open.destroyed);
  await eventually('log', () => mesh.lines('b', 'connection closed due to connection drain')[0]);
  open.destroy();
});

test('with the default limit a connection outlives the start of its pod’s drain and ends in its own time', async (t) => {
  const { drainMs } = parseZtunnelConfig({}, { exists: () => false, meshConfig: undefined });
  await using mesh = await Mesh.start({ drainMs });
  mesh.update(serverService);
  const client = await mesh.pod('client');
  const server = await mesh.pod('server', { node: 'b', fields: asEndpoint });
  using _echo = serveEcho(server.netns);
  const open = await connectApp(client.netns, VIP);
  t.is(await exchange(open, 'before'), 'before');
  mesh.node('b').tunnel.pods.delete(server.uid);
  for (const word of ['one', 'two', 'three']) t.is(await exchange(open, word), word);
  open.end();
  await eventually('both ends said their end', () => open.readableEnded);
  await eventually(
    'the server’s side has ended',
    () => mesh.lines('b', 'connection complete', 'direction="inbound"')[0],
  );
  t.is(mesh.lines('b', 'connection closed due to connection drain').length, 0);
});

test('a pod that is added again after a delete is served', async (t) => {
  await using mesh = await Mesh.start();
  mesh.update(serverService);
  const client = await mesh.pod('client');
  const server = await mesh.pod('server', { node: 'b', fields: asEndpoint });
  using _echo = serveEcho(server.netns);
  mesh.node('b').tunnel.pods.delete(server.uid);
  await mesh.enrol(server, server.netns);
  t.is((await call(client.netns, VIP, 'hi')).toString(), 'hi');
});

test('without its tunnel a captured pod is cut off', async (t) => {
  await using mesh = await Mesh.start({ drainMs: 0 });
  const client = await mesh.pod('client');
  const server = await mesh.pod('server', { meshed: false });
  using echo = serveEcho(server.netns);
  mesh.node('a').tunnel.pods.delete(client.uid);
  // until the listener is closed a connection in its queue may be reset
  await eventually('refused', () =>
    call(client.netns, { ip: server.ip4, port: 8080 }, 'hi').then(
      () => false,
      (reason: unknown) => errnoName(reason) === 'ECONNREFUSED',
    ),
  );
  t.deepEqual(echo.peers, []);
});

test('a service waypoint gets the untranslated destination and the identity by PROXY protocol', async (t) => {
  await using mesh = await Mesh.start();
  const client = await mesh.pod('client');
  const waypoint = await mesh.pod('waypoint', {
    node: 'b',
    fields: { applicationTunnel: { protocol: 'PROXY', port: 15_088 } },
  });
  mesh.update({
    ...serverService,
    waypoint: { destination: { kind: 'address', network: '', ip: waypoint.ip4 }, hboneMtlsPort: 15_008 },
  });
  using echo = serveEcho(waypoint.netns, 15_088);
  const answer = await call(client.netns, VIP, 'hi');
  t.true(answer.subarray(-2).equals(Buffer.from('hi')));
  const head = echo.heads[0] ?? Buffer.alloc(0);
  t.is(head.subarray(0, 12).toString('hex'), '0d0a0d0a000d0a515549540a');
  t.is([...head.subarray(16, 20)].join('.'), client.ip4);
  t.is([...head.subarray(20, 24)].join('.'), VIP.ip);
  t.is(head.readUInt16BE(26), VIP.port);
  t.true(head.includes('spiffe://cluster.local/ns/default/sa/client'));
  const line = await eventually('log', () => mesh.lines('a', 'direction="outbound"')[0]);
  t.true(
    line.includes(
      `dst.addr=${waypoint.ip4}:15008 dst.hbone_addr=10.96.0.1:80 dst.service="${serverService.hostname}" dst.workload="waypoint"`,
    ),
    line,
  );
});

function policyMatch() {
  return {
    namespaces: [],
    notNamespaces: [],
    principals: [],
    notPrincipals: [],
    serviceAccounts: [],
    notServiceAccounts: [],
    sourceIps: [],
    notSourceIps: [],
    destinationIps: [],
    notDestinationIps: [],
    destinationPorts: [],
    notDestinationPorts: [],
  };
}

function allowOnly(...accounts: readonly string[]) {
  const serviceAccounts = accounts.map((serviceAccount) => ({ namespace: 'default', serviceAccount }));
  return policy({ name: 'only', rules: [{ clauses: [{ matches: [{ ...policyMatch(), serviceAccounts }] }] }] });
}
